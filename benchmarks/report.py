"""The tables of benchmarks/results.md."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.capacity import MIB
from benchmarks.measure import Sample
from benchmarks.peers.starting import NGINX, PASSTHROUGH, version_of
from benchmarks.targets import Run, Verdict, verdicts

LIBRARIES: Final = ("uvicorn", "uvloop", "httptools", "starlette", "aiohttp", "msgspec", "mcp", "asyncpg")
_WORDS: Final = {True: "yes", False: "**no**", None: "not measured"}


def write_report(run: Run, *, resident: Mapping[str, int], absent: Sequence[str], how: str) -> str:
    """The whole page."""
    parts = [
        "# Results of the last run",
        "Written by `scripts/bench`. Ratios of one interleaved run mean something; absolute times do not, because other"
        " work was going on beside it.",
        f"{_machine()}\n\n{how}",
        "## Targets",
        _targets(verdicts(run)),
        *(part for scenario in run.samples for part in (f"## {scenario}", _scenario(run.samples[scenario], resident))),
        "## Chats, streamed",
        _chats(run),
        "## The gateway alone",
        _alone(run),
    ]
    if absent:
        parts.append("Absent in this run: " + ", ".join(absent) + ".")
    return "\n\n".join(parts) + "\n"


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return "\n".join(
        [
            f"- Machine: {os.cpu_count()} × {model}, Linux {platform.release()}; load average at the end {load}.",
            f"- Python {platform.python_version()}; {libraries}.",
            f"- {version_of(['nginx', '-v'])}; Caddy {version_of(['caddy', 'version'])}.",
        ]
    )


def _targets(rows: Sequence[Verdict]) -> str:
    lines = ["| what | seen | must | holds | aim | reached |", "|---|---|---|---|---|---|"]
    for row in rows:
        sign = "≤" if row.at_most else "≥"
        seen = "–" if row.seen is None else f"{row.seen:.2f}{row.unit}" if row.unit else f"{row.seen:.0f}"
        what = f"{row.what} ({row.note})" if row.note else row.what
        lines.append(
            f"| {what} | {seen} | {sign} {row.must:g}{row.unit} | {_WORDS[row.holds]} "
            f"| {sign} {row.aim:g}{row.unit} | {_WORDS[row.reaches_aim]} |"
        )
    return "\n".join(lines)


def _scenario(rows: Mapping[str, Sequence[Sample]], resident: Mapping[str, int]) -> str:
    lines = [
        "| | CPU ms/call | to Starlette + aiohttp | to nginx | calls/s | p50 ms | p99 ms | errors | RSS MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, samples in rows.items():
        cpu = _mid(samples, lambda sample: sample.cpu_per_call * 1000)
        shown = f"{cpu:.3f}" if cpu else "–"
        memory = f"{resident[name] / MIB:.0f}" if name in resident else "–"
        lines.append(
            f"| {name} | {shown} | {_ratio(rows, name, PASSTHROUGH)} | {_ratio(rows, name, NGINX)} "
            f"| {_mid(samples, lambda sample: sample.rate):.0f} "
            f"| {_mid(samples, lambda sample: sample.p50) * 1000:.2f} "
            f"| {_mid(samples, lambda sample: sample.p99) * 1000:.2f} | {sum(sample.errors for sample in samples)} "
            f"| {memory} |"
        )
    return "\n".join(lines)


def _ratio(rows: Mapping[str, Sequence[Sample]], name: str, other: str) -> str:
    pairs = zip(rows[name], rows.get(other, ()), strict=False)
    ratios = [one.cpu_per_call / two.cpu_per_call for one, two in pairs if one.cpu and two.cpu]
    return f"{median(ratios):.2f}" if ratios else "–"


def _mid(samples: Sequence[Sample], figure: Callable[[Sample], float]) -> float:
    return median(figure(sample) for sample in samples)


def _chats(run: Run) -> str:
    lines = [
        "| | CPU ms per 1,000 chunks | to Starlette + aiohttp | first word, ms | behind a tool round, ms |",
        "|---|---|---|---|---|",
    ]
    yardstick = run.chats[PASSTHROUGH]
    for name, samples in run.chats.items():
        costs = [(one.cpu_per_chunk, two.cpu_per_chunk) for one, two in zip(samples, yardstick, strict=False)]
        known = [(ours, theirs) for ours, theirs in costs if ours and theirs]
        cpu = f"{median(ours for ours, _ in known) * 1e6:.0f}" if known else "–"
        ratio = f"{median(ours / theirs for ours, theirs in known):.2f}" if known else "–"
        behind = [sample.after_tool for sample in samples if sample.after_tool]
        first = median(sample.first for sample in samples) * 1000
        lines.append(
            f"| {name} | {cpu} | {ratio} | {first:.2f} | {f'{median(behind) * 1000:.2f}' if behind else '–'} |"
        )
    return "\n".join(lines)


def _alone(run: Run) -> str:
    lines = []
    if run.start is not None:
        start = run.start
        lines.append(
            f"- Start: first 200 of /ready after {start.ready:.2f} s ({start.cpu:.2f} s of CPU); at idle the worker "
            f"has {start.worker / MIB:.0f} MiB, the supervisor {start.supervisor / MIB:.0f}, "
            f"the runner {start.runner / MIB:.0f}."
        )
    if run.sessions is not None:
        lines.append(
            f"- 1,000 idle sessions: {run.sessions.per_thousand / MIB:.1f} MiB; a held GET stream: "
            f"{run.sessions.per_stream / 1024:.0f} KiB."
        )
    if run.scaling is not None:
        scaling = run.scaling
        where = "measured" if scaling.has_room else "measured with the load on the same cores"
        lines.append(
            f"- Two workers, 64 calls under way at each: CPU per call {scaling.cpu_ratio:.2f}× that of one, "
            f"balance {scaling.balance:.2f}; calls/s computed {scaling.computed:.2f}×, {where} {scaling.measured:.2f}×."
        )
    return "\n".join(lines) or "Not measured in this run."


def failures(run: Run) -> list[str]:
    """The must-targets that are missed by more than noise explains."""
    return [f"{row.what}: {row.seen:.2f}, must {row.must:g}" for row in verdicts(run) if row.fails_with_slack]
