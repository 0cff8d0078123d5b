"""Runs @modelcontextprotocol/conformance against one server and reads what it found. Nothing is judged here."""

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.node import node_binary, node_project

SOURCE = Path(__file__).parent / "mcp-suite"
MAIN = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
REVISIONS = ("2025-11-25", "2026-07-28")
SECONDS = 240.0
WORST_FIRST = ("FAILURE", "WARNING", "SKIPPED", "SUCCESS")
"""What a check may end with; INFO says nothing about conformance and is left out."""


@dataclass(frozen=True, slots=True)
class Check:
    """The worst outcome of one check of one scenario, and what the suite said about it."""

    status: str
    message: str = ""


Checks = Mapping[tuple[str, str], Check]
"""By scenario and id of the check."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the suite: its checks, and how many of each outcome it counted."""

    checks: Checks
    counts: Mapping[str, int]


async def start_suite(*arguments: str, url: str, token: str = "") -> asyncio.subprocess.Process:
    """Start the suite with `arguments`; requests for the origin of `url` carry `token`."""
    project = await asyncio.to_thread(node_project, SOURCE)
    parts = urlsplit(url)
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {"CONFORMANCE_ORIGIN": f"{parts.scheme}://{parts.netloc}", "CONFORMANCE_TOKEN": token}
    return await asyncio.create_subprocess_exec(
        node_binary(),
        "--import",
        "./bearer.mjs",
        MAIN,
        *arguments,
        cwd=project,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1 << 20,
    )


async def run_suite(url: str, revision: str, *, token: str = "") -> Run:
    """Run everything that a revision of the specification requires, and what it reports without scoring."""
    with tempfile.TemporaryDirectory(prefix="gw-conformance-") as folder:
        process = await start_suite(
            "server", "--url", url, "--requirements", revision, "-o", folder, url=url, token=token
        )
        try:
            async with asyncio.timeout(SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        run = read_results(Path(folder))
    assert run.checks, f"the suite found nothing to check: {output.decode()[-3000:]}"
    return run


def read_results(folder: Path) -> Run:
    """What stands in `folder` after a run: a directory with a `checks.json` for each scenario."""
    checks: dict[tuple[str, str], Check] = {}
    counts = dict.fromkeys(WORST_FIRST, 0)
    for path in sorted(folder.rglob("checks.json")):
        scenario = _scenario(path.parent.name)
        found: list[dict[str, Any]] = json.loads(path.read_bytes())
        for entry in found:
            check = Check(entry["status"], entry.get("errorMessage") or "")
            if check.status not in counts:
                continue
            counts[check.status] += 1
            key = (scenario, entry["id"])
            if key not in checks or _rank(check) < _rank(checks[key]):
                checks[key] = check
    return Run(checks, counts)


def _rank(check: Check) -> int:
    return WORST_FIRST.index(check.status)


def _scenario(directory: str) -> str:
    """`tools-list` out of `server-tools-list-2026-11-21T05-25-23-456Z`."""
    return directory.removeprefix("server-").rsplit("-", 6)[0]
