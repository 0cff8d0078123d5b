"""Counting processes."""

import os
import subprocess
import sys

from gateway_proxy.runner.census import kill_stray, take_census
from tests.support.runner import until_gone

_FAMILY = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)']); "
)


async def test_trees_are_counted_and_strays_found() -> None:
    """Issue 3: limits per child; what a killed keeper left belongs to nobody."""
    parent = subprocess.Popen(
        [sys.executable, "-S", "-c", _FAMILY + "print(1, flush=True); time.sleep(60)"], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    census = take_census(os.getpid(), [parent.pid])
    assert census.trees[parent.pid].processes == 1
    assert census.trees[parent.pid].resident_bytes > 1_000_000
    assert parent.pid not in census.strays
    assert parent.pid in take_census(os.getpid(), []).strays
    grandchild = subprocess.run(["pgrep", "-P", str(parent.pid)], capture_output=True, check=True).stdout
    os.kill(int(grandchild), 9)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    kill_stray(parent.pid)  # gone already: no error
    await until_gone([parent.pid])
