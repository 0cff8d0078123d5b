"""`python -m tests.conformance [--short]`: run the suite, compare, and write docs/reference/conformance.md."""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.conformance.authorization import run_authorization
from tests.conformance.comparison import Difference, Leg, find_differences, judge, read_known_gaps
from tests.conformance.report import explain, summarize, write_page
from tests.conformance.suite import REVISIONS, Run, run_suite
from tests.conformance.targets import TENANTS, Target, everything_server, one_worker, two_gateways
from tests.support.servers import TestRun


@asynccontextmanager
async def _test_run() -> AsyncIterator[TestRun]:
    """What PostgreSQL and Redis of the tests live and die with: this process."""
    directory = tempfile.mkdtemp(prefix="gateway-tests-")
    try:
        yield TestRun(os.getpid(), directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _run_leg(leg: Leg, target: Target, direct: Run) -> Run:
    """Run one leg; once more when it is worse than known, because some checks wait for half a second and no longer.

    On a busy machine that is too short now and then. What is really worse is so the second time as well.
    """
    for attempt in ("first", "second"):
        run = await run_suite(f"{target.url}/mcp", leg.revision, token=target.tokens[leg.backend])
        verdict = judge(find_differences(leg, direct.checks, run.checks), read_known_gaps(), [leg])
        print(f"ran {leg.name} ({attempt} time)", file=sys.stderr, flush=True)
        if not verdict.unexpected:
            break
    else:
        print(*target.complaints(), sep="\n", file=sys.stderr)
    return run


async def _run(*, short: bool) -> int:
    results: dict[Leg, Run] = {}
    async with _test_run() as run, everything_server() as backend:
        direct = {revision: await run_suite(backend, revision) for revision in REVISIONS}
        targets: list[AbstractAsyncContextManager[Target]] = [two_gateways(backend, run)]
        targets += [] if short else [one_worker(backend)]
        for opening in targets:
            async with opening as target:
                for leg in [Leg(target.name, tenant, revision) for tenant in TENANTS for revision in REVISIONS]:
                    results[leg] = await _run_leg(leg, target, direct[leg.revision])
                authorization = await run_authorization(target)
    differences: list[Difference] = []
    for leg, through in results.items():
        differences += find_differences(leg, direct[leg.revision].checks, through.checks)
    verdict = judge(differences, read_known_gaps(), list(results))
    for line in summarize(direct, results, verdict, authorization):
        print(line)
    if not short:
        write_page(direct, results, verdict, authorization)
    for line in explain(verdict):
        print(line, file=sys.stderr)
    failed = sum(run.counts["FAILURE"] for run in (*direct.values(), authorization))
    return 0 if verdict.is_good and not failed else 1


def main() -> int:
    """Read the arguments and run; 0 when nothing is worse than known."""
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__)
    parser.add_argument("--short", action="store_true", help="only two gateways, round robin; the page stays as it is")
    return asyncio.run(_run(short=parser.parse_args().short))


if __name__ == "__main__":
    sys.exit(main())
