"""Prometheus metrics, by the `prometheus-client` library. Labels hold few and short names: no user, no tool, no URL.

What is told apart by tenant is shown to that tenant and to the operator only, and the number of names is bounded.

With several workers each process writes its own files into a folder (`metrics_folder`, made by `serve`) and the page
adds them up; with one worker the values live in memory.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
    multiprocess,
)
from prometheus_client.registry import Collector

from gateway_proxy.telemetry.metrics_folder import held_still


class BatchHistogram(Histogram):
    """The library's histogram, which can also be given many observations at once."""

    def observe_batch(self, counts: Sequence[int], total: float) -> None:
        """`counts` by bucket, in the order of the bounds and the one without a bound last; `total` is their sum."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


TOOL_CALLS: Final = Counter("gateway_tool_calls_total", "Tool calls by surface and outcome", ["surface", "outcome"])
_BOUNDS: Final = (0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300)
TOOL_SECONDS: Final = BatchHistogram(
    "gateway_tool_call_seconds", "Time from routing a tool call to its result", ["surface"], buckets=_BOUNDS
)
REQUESTS: Final = Counter("gateway_requests_total", "Other MCP requests relayed", ["method", "outcome"])
RESPONSES: Final = Counter(
    "gateway_http_responses_total", "HTTP responses by surface and status", ["surface", "status"]
)
TASKS: Final = Gauge("gateway_tasks", "Asyncio tasks that the workers hold at present", multiprocess_mode="livesum")
CHATS: Final = Counter(
    "gateway_chats_total", "Chats by tenant, assistant and outcome", ["tenant", "assistant", "outcome"]
)
CHAT_TOKENS: Final = Counter(
    "gateway_chat_tokens_total", "Tokens of chats by tenant, assistant and kind", ["tenant", "assistant", "kind"]
)
ASSISTANTS_LIMIT: Final = 1000
"""Assistants that one process tells apart; what comes later counts as `(other)`."""
TOKENS_LIMIT: Final = 10**9
OTHER: Final = ("(other)", "(other)")


class _Tally:
    """What is yet to be added to one counter. The library's own `inc` takes a lock, and with several workers a file."""

    __slots__ = ("count", "counter")

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.count = 0


class _Times:
    """The same for a histogram."""

    __slots__ = ("counts", "histogram", "total")

    def __init__(self, histogram: BatchHistogram) -> None:
        self.histogram = histogram
        self.clear()

    def clear(self) -> None:
        """Nothing is left to add."""
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.total = 0.0


class Metrics:
    """The counters that rooms are given; children are looked up once, so that the hot path only adds.

    What is counted for every call is added up here first and handed over by `settle`: once a second, and for a page.
    All but `page` is for the thread of the event loop.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is where the workers keep their counts when there are several."""
        self._folder = folder
        self._calls: dict[tuple[str, str], _Tally] = {}
        self._seconds: dict[str, _Times] = {}
        self._responses: dict[tuple[str, int], _Tally] = {}
        self._assistants: set[tuple[str, str]] = set()

    def tool_called(self, surface: str, outcome: str, seconds: float) -> None:
        """Count one tool call. `outcome` is ok, tool_error or a RelayError's name."""
        key = (surface, outcome)
        tally = self._calls.get(key)
        if tally is None:
            tally = self._calls[key] = _Tally(TOOL_CALLS.labels(surface, outcome))
        tally.count += 1
        times = self._seconds.get(surface)
        if times is None:
            times = self._seconds[surface] = _Times(TOOL_SECONDS.labels(surface))
        times.counts[bisect_left(_BOUNDS, seconds)] += 1
        times.total += seconds

    def request_relayed(self, method: str, outcome: str) -> None:
        """Count one request that is no tool call. `method` is one of MCP's, or `other`; `outcome` as for tools."""
        REQUESTS.labels(method, outcome).inc()

    def responded(self, surface: str, status: int) -> None:
        """Count one HTTP response."""
        key = (surface, status)
        tally = self._responses.get(key)
        if tally is None:
            tally = self._responses[key] = _Tally(RESPONSES.labels(surface, str(status)))
        tally.count += 1

    def settle(self) -> None:
        """Hand over what was added up. Not beside the event loop, which goes on adding."""
        for tallies in (self._calls, self._responses):
            for tally in tallies.values():
                if tally.count:
                    tally.counter.inc(tally.count)
                    tally.count = 0
        for times in self._seconds.values():
            if any(times.counts):
                times.histogram.observe_batch(times.counts, times.total)
                times.clear()

    def holds_tasks(self, number: int) -> None:
        """Note how many tasks this worker holds now."""
        TASKS.set(number)

    def chat_ended(
        self, tenant: str, assistant: str, outcome: str, *, prompt: int, cached: int, completion: int
    ) -> None:
        """Count one chat and its tokens; `cached` are those of `prompt` that the provider had already.

        `tenant` is a slug, `assistant` a name that the tenant's administrator gave, `outcome` ok, cancelled or a code.
        """
        who = (tenant, assistant)
        if who not in self._assistants:
            if len(self._assistants) < ASSISTANTS_LIMIT:
                self._assistants.add(who)
            else:
                who = OTHER
        CHATS.labels(*who, outcome).inc()
        for kind, count in (("prompt", prompt), ("cached", cached), ("completion", completion)):
            if count > 0:  # a provider says it, and a counter that is given less fails
                CHAT_TOKENS.labels(*who, kind).inc(min(count, TOKENS_LIMIT))

    def page(self, *, tenant: str | None = None) -> bytes:
        """The metrics of all workers in the Prometheus text format; with `tenant`, nothing that names another one.

        What is not settled yet is not in it. Any thread may ask.
        """
        if self._folder is None:
            return generate_latest(_Shown(REGISTRY, tenant))
        merged = CollectorRegistry()
        multiprocess.MultiProcessCollector(merged, path=str(self._folder))  # type: ignore[no-untyped-call] # library
        with held_still(self._folder):
            return generate_latest(_Shown(merged, tenant))


class _Shown(Collector):
    """What one reader may see of a registry."""

    def __init__(self, registry: CollectorRegistry, tenant: str | None) -> None:
        self._registry = registry
        self._tenant = tenant

    def collect(self) -> Iterator[Metric]:
        """The families, without the samples that name another tenant."""
        for family in self._registry.collect():
            if self._tenant is not None:
                family.samples = [s for s in family.samples if s.labels.get("tenant", self._tenant) == self._tenant]
            yield family
