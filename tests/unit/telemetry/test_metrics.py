"""What is added up before it is handed over is what the library would have counted itself."""

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from gateway_proxy.telemetry.metrics import BatchHistogram, Metrics

BOUNDS = (0.005, 0.02, 0.1)
SECONDS = (0.0, 0.005, 0.0051, 0.02, 0.09, 0.1, 7.0)


def samples(histogram: type[Histogram]) -> tuple[Histogram, CollectorRegistry]:
    """A histogram in a registry of its own."""
    registry = CollectorRegistry()
    return histogram("h", "help", ["surface"], buckets=BOUNDS, registry=registry), registry


def shown(registry: CollectorRegistry) -> list[str]:
    """The page, without when it was made."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_a_batch_counts_as_its_observations_would() -> None:
    """The one place where ours reaches into the library's histogram."""
    one, ones = samples(Histogram)
    for seconds in SECONDS:
        one.labels("mcp").observe(seconds)
    many, batch = samples(BatchHistogram)
    child = many.labels("mcp")
    assert isinstance(child, BatchHistogram)
    child.observe_batch([2, 2, 2, 1], sum(SECONDS))
    child.observe_batch([0, 0, 0, 0], 0.0)
    assert shown(batch) == shown(ones)


def test_the_page_shows_every_call_that_was_handed_over() -> None:
    """Nothing is lost on the way to the library; a bound belongs to its bucket."""
    metrics = Metrics()

    def value(start: str) -> float:
        metrics.settle()
        lines = [line for line in metrics.page().decode().splitlines() if line.startswith(start)]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    names = [
        'gateway_tool_calls_total{outcome="ok",surface="batch"}',
        'gateway_tool_call_seconds_count{surface="batch"}',
        'gateway_tool_call_seconds_bucket{le="0.005",surface="batch"}',
        'gateway_tool_call_seconds_bucket{le="0.02",surface="batch"}',
        'gateway_tool_call_seconds_bucket{le="300.0",surface="batch"}',
        'gateway_http_responses_total{status="200",surface="batch"}',
    ]
    for seconds in (0.005, 0.006, 301.0):
        metrics.tool_called("batch", "ok", seconds)
        metrics.responded("batch", 200)
    assert [value(name) for name in names] == [3, 3, 1, 2, 2, 3]
    metrics.tool_called("batch", "ok", 0.001)
    assert [value(name) for name in names] == [4, 4, 2, 3, 3, 3]
    assert value('gateway_tool_call_seconds_sum{surface="batch"}') == 0.005 + 0.006 + 301.0 + 0.001
