"""Prometheus metrics, by the `prometheus-client` library. Labels hold only names of ours: no user, no tool, no URL.

With several workers each process writes its own files into a folder (`metrics_folder`, made by `serve`) and the page
adds them up; with one worker the values live in memory.
"""

from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from gateway_proxy.telemetry.metrics_folder import held_still

TOOL_CALLS: Final = Counter("gateway_tool_calls_total", "Tool calls by surface and outcome", ["surface", "outcome"])
TOOL_SECONDS: Final = Histogram(
    "gateway_tool_call_seconds",
    "Time from routing a tool call to its result",
    ["surface"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300),
)
REQUESTS: Final = Counter("gateway_requests_total", "Other MCP requests relayed", ["method", "outcome"])
RESPONSES: Final = Counter(
    "gateway_http_responses_total", "HTTP responses by surface and status", ["surface", "status"]
)
TASKS: Final = Gauge("gateway_tasks", "Asyncio tasks that the workers hold at present", multiprocess_mode="livesum")


class Metrics:
    """The counters that rooms are given; children are looked up once, so that the hot path only adds."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is where the workers keep their counts when there are several."""
        self._folder = folder
        self._calls: dict[tuple[str, str], Counter] = {}
        self._seconds: dict[str, Histogram] = {}
        self._responses: dict[tuple[str, int], Counter] = {}

    def tool_called(self, surface: str, outcome: str, seconds: float) -> None:
        """Count one tool call. `outcome` is ok, tool_error or a RelayError's name."""
        key = (surface, outcome)
        counter = self._calls.get(key)
        if counter is None:
            counter = self._calls[key] = TOOL_CALLS.labels(surface, outcome)
        counter.inc()
        histogram = self._seconds.get(surface)
        if histogram is None:
            histogram = self._seconds[surface] = TOOL_SECONDS.labels(surface)
        histogram.observe(seconds)

    def request_relayed(self, method: str, outcome: str) -> None:
        """Count one request that is no tool call. `method` is one of MCP's, or `other`; `outcome` as for tools."""
        REQUESTS.labels(method, outcome).inc()

    def responded(self, surface: str, status: int) -> None:
        """Count one HTTP response."""
        key = (surface, status)
        counter = self._responses.get(key)
        if counter is None:
            counter = self._responses[key] = RESPONSES.labels(surface, str(status))
        counter.inc()

    def holds_tasks(self, number: int) -> None:
        """Note how many tasks this worker holds now."""
        TASKS.set(number)

    def page(self) -> bytes:
        """The metrics of all workers in the Prometheus text format."""
        if self._folder is None:
            return generate_latest(REGISTRY)
        merged = CollectorRegistry()
        multiprocess.MultiProcessCollector(merged, path=str(self._folder))  # type: ignore[no-untyped-call] # library
        with held_still(self._folder):
            return generate_latest(merged)
