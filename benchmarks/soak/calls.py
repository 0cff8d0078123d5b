"""Phase: tools/call over JSON, SSE and stdio backends, with a look at the workers' memory every little while."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import linear_regression
from typing import Final

from benchmarks.capacity import MIB
from benchmarks.load import hammer
from benchmarks.processes import resident_bytes
from benchmarks.soak.progress import Progress
from benchmarks.soak.site import Site, Unexpected
from benchmarks.subjects import Kind

CONNECTIONS: Final = 48
KINDS: Final[tuple[Kind, ...]] = ("json", "sse", "json", "stdio")
SLICE_SECONDS: Final = 1.0
FEWEST_CALLS: Final = 20_000
"""Below this a slope says nothing: one page more or less decides it."""


@dataclass(slots=True)
class Growth:
    """The workers' memory in bytes over the calls made so far."""

    calls: list[int] = field(default_factory=list)
    resident: list[Sequence[int]] = field(default_factory=list)

    def slopes(self) -> list[float]:
        """MiB per 10,000 calls of each worker; none when there were too few calls."""
        if not self.calls or self.calls[-1] - self.calls[0] < FEWEST_CALLS:
            return []
        columns = zip(*self.resident, strict=True)
        return [linear_regression(self.calls, column).slope * 10_000 / MIB for column in columns]


async def call_tools(site: Site, amount: int) -> Growth:
    """Make at least so many calls, on connections that stay open."""
    subject, progress, growth, done = site.subject(), Progress("calls", amount), Growth(), 0
    opened = [await subject.open(KINDS[number % len(KINDS)], number) for number in range(CONNECTIONS)]
    connections, asked = [each for each, _ in opened], [question for _, question in opened]
    try:
        while done < amount:
            tally = await hammer(connections, asked, SLICE_SECONDS)
            if tally.errors:
                raise Unexpected(f"{tally.errors} of {len(tally.latencies)} calls failed, first: {tally.first_error}")
            done += len(tally.latencies)
            progress.add(len(tally.latencies))
            growth.calls.append(done)
            growth.resident.append([resident_bytes(pid) for pid in site.workers])
    finally:
        for connection in connections:
            connection.close()
    progress.end()
    return growth
