"""Writes what the runs found: the page for readers, and the lines for whoever looks at the terminal."""

from collections.abc import Mapping
from pathlib import Path

from tests.conformance.comparison import Difference, Leg, Results, Verdict
from tests.conformance.suite import Run

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "conformance.md"

HEAD = """# Conformance

Written by `scripts/conformance`; a change by hand does not last.

The official suite (`@modelcontextprotocol/conformance` 0.2.0-alpha.12, both requirement sets) runs against a server
with one of everything in MCP, first directly and then through the gateway: a tenant with that one backend and
`naming: {prefix: none}`, reached over streamable HTTP and over stdio, on one worker and on two gateway processes behind
a strict round robin, where no two requests in a row meet the same process. `GATEWAY_STREAM_TTL` is 2 seconds there: the
scenario `server-sse-polling` wants the stream of a call broken and taken up again, and a child has none to break.

"Not as good" counts the checks that end worse than in the direct run, or that the suite did not get to. The suite
counts its unscored scenarios too; the extension `io.modelcontextprotocol/tasks` is among them.

| requirements | backend | through | passed | failed | warnings | not as good |
|---|---|---|---|---|---|---|
"""


def write_page(direct: Mapping[str, Run], results: Results, verdict: Verdict, authorization: Run) -> None:
    """The table of all runs, and the known gaps with their reasons."""
    lines = []
    for revision, run in direct.items():
        lines.append(_row(revision, "streamable HTTP", "nothing (direct)", run, None))
        for leg, through in results.items():
            if leg.revision == revision:
                lines.append(_row(revision, leg.backend, leg.target, through, _count(leg, verdict)))
    lines += ["", "Authorization server (`conformance authorization`, a public client with PKCE): "]
    lines[-1] += f"{authorization.counts['SUCCESS']} passed, {authorization.counts['FAILURE']} failed."
    lines += ["", "## Known gaps", ""]
    if not verdict.known:
        lines.append("None: every check that passes directly passes through the gateway.")
    gaps = {(gap.scenario, gap.check, gap.backend or "both", gap.reason) for _, gap in verdict.known}
    if gaps:
        lines += ["| scenario | check | backend | reason |", "|---|---|---|---|"]
        lines += [
            f"| {scenario} | `{check}` | {backend} | {reason} |" for scenario, check, backend, reason in sorted(gaps)
        ]
    PAGE.write_text(HEAD + "\n".join(lines) + "\n", "utf-8")


def _row(revision: str, backend: str, through: str, run: Run, worse: int | None) -> str:
    counts = run.counts
    cells = [revision, backend, through, counts["SUCCESS"], counts["FAILURE"], counts["WARNING"]]
    return "| " + " | ".join(str(cell) for cell in [*cells, "" if worse is None else worse]) + " |"


def _count(leg: Leg, verdict: Verdict) -> int:
    differences = [*verdict.unexpected, *(difference for difference, _ in verdict.known)]
    return sum(difference.leg == leg for difference in differences)


def explain(verdict: Verdict) -> list[str]:
    """What has to be done before the script is content, one line each."""
    lines = [_line(difference) for difference in verdict.unexpected]
    lines += [
        f"known_gaps.yaml: remove {gap.scenario} / {gap.check} ({gap.backend or 'both backends'}): it passes now"
        for gap in verdict.spent
    ]
    return lines


def _line(difference: Difference) -> str:
    where = f"{difference.leg.name}: {difference.scenario} / {difference.check}"
    return f"{where}: {difference.status} ({difference.directly} directly): {difference.message[:300]}"


def summarize(direct: Mapping[str, Run], results: Results, verdict: Verdict, authorization: Run) -> list[str]:
    """One line for each run."""
    lines = [f"{revision} · direct: {_passed(run)}" for revision, run in direct.items()]
    for leg, run in results.items():
        lines.append(f"{leg.name}: {_passed(run)}, {_count(leg, verdict)} not as good as directly")
    return [*lines, f"authorization server: {_passed(authorization)}"]


def _passed(run: Run) -> str:
    return f"{run.counts['SUCCESS']} passed, {run.counts['FAILURE']} failed"
