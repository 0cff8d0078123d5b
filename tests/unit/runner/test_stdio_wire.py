"""The wire to a child: what the child said last is heard, however much it said before."""

import asyncio
import sys
from pathlib import Path

from gateway_proxy.runner.framing import Oversized
from gateway_proxy.runner.launch import LaunchSpec
from gateway_proxy.runner.stdio_wire import StdioWire, Surroundings

_SAY = "import os; os.write({fd}, {line!r} * 50_000); os.write({fd}, b'the last\\n')"


async def _run(code: str, home: Path) -> tuple[list[bytes | Oversized], list[str]]:
    """The child's lines of stdout, and what is remembered of its stderr."""
    lines: list[bytes | Oversized] = []
    ended = asyncio.Event()
    spec = LaunchSpec(tenant="t", label="x", transport="stdio", command=sys.executable, args=["-c", code])
    surroundings = Surroundings("/usr/bin:/bin", str(home), {})
    wire = StdioWire(spec, surroundings, on_line=lines.append, on_end=ended.set)
    await wire.start()
    async with asyncio.timeout(60):
        await ended.wait()
    return lines, list(wire.log)


async def test_the_last_line_of_a_child_that_floods_and_ends_is_heard(tmp_path: Path) -> None:
    """A one-shot server's answer is its last line; a flooded pipe rests longer than an ended process is waited for."""
    lines, _ = await _run(_SAY.format(fd=1, line=b"x\n"), tmp_path)
    assert len(lines) == 50_001
    assert lines[-1] == b"the last"


async def test_the_reason_that_a_child_gives_after_a_flood_on_stderr_is_kept(tmp_path: Path) -> None:
    """The line that says why a server died is the one that people look for in /status."""
    _, log = await _run(_SAY.format(fd=2, line=b"at f()\n"), tmp_path)
    assert log[-1] == "the last"
