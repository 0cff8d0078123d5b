"""Counts of several processes in one folder: added up, kept when a process dies, gone with their supervisor."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_proxy.telemetry.metrics_folder import ENVIRONMENT_NAME, MetricsFolder

COUNT = """
import os, sys
from pathlib import Path
from gateway_proxy.telemetry.metrics import Metrics
metrics = Metrics(Path(sys.argv[1]))
metrics.holds_tasks(int(sys.argv[2]))
for _ in range(int(sys.argv[2])):
    metrics.tool_called("mcp", "ok", 0.01)
metrics.settle()
if len(sys.argv) > 3:
    sys.stdout.write(metrics.page().decode())
else:
    print(os.getpid())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[MetricsFolder]:
    made = MetricsFolder(tmp_path)
    yield made
    made.remove()


def count(folder: MetricsFolder, calls: int, *, show: bool = False) -> str:
    """Count in a process of its own; its id, or with `show` the page as it sees it."""
    arguments = [sys.executable, "-c", COUNT, str(folder.path), str(calls), *(["show"] if show else [])]
    done = subprocess.run(
        arguments, env={ENVIRONMENT_NAME: str(folder.path)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def total(page: str, name: str) -> float:
    """The value of one sample."""
    (line,) = [line for line in page.splitlines() if line.startswith(name)]
    return float(line.rpartition(" ")[2])


def test_counts_of_several_processes_add_up(folder: MetricsFolder) -> None:
    """Issue 3: /metrics with several workers; security O7."""
    count(folder, 2)
    count(folder, 3)

    page = count(folder, 4, show=True)

    assert total(page, 'gateway_tool_calls_total{outcome="ok",surface="mcp"}') == 9
    assert total(page, 'gateway_tool_call_seconds_count{surface="mcp"}') == 9
    assert total(page, 'gateway_tool_call_seconds_bucket{le="0.02",surface="mcp"}') == 9
    assert total(page, 'gateway_tool_call_seconds_bucket{le="0.005",surface="mcp"}') == 0


def test_what_the_dead_counted_is_kept_in_one_file(folder: MetricsFolder) -> None:
    """A counter never goes back, and workers that die again and again leave no pile of files."""
    living = int(count(folder, 5))
    for _ in range(3):
        count(folder, 2)

    folder.gather({living})
    folder.gather({living})

    names = {path.name for path in folder.path.glob("*.db")}
    counted = {f"{kind}_{who}.db" for kind in ("counter", "histogram") for who in (living, "gone")}
    assert names == counted | {f"gauge_livesum_{living}.db"}
    page = count(folder, 0, show=True)
    assert total(page, 'gateway_tool_calls_total{outcome="ok",surface="mcp"}') == 11
    assert total(page, 'gateway_tool_call_seconds_count{surface="mcp"}') == 11


def test_what_the_dead_held_counts_no_more(folder: MetricsFolder) -> None:
    """A gauge says what is held now: the tasks of a dead worker are gone with it."""
    living = int(count(folder, 5))
    count(folder, 40)

    folder.gather({living})

    assert total(count(folder, 3, show=True), "gateway_tasks ") == 5 + 3


def test_a_file_without_a_beginning_is_dropped(folder: MetricsFolder) -> None:
    """kill -9 between the making of a file and its first byte."""
    (folder.path / "counter_123.db").touch()

    folder.gather(set())

    assert total(count(folder, 1, show=True), "gateway_tool_calls_total{") == 1


def test_a_folder_goes_with_its_supervisor_and_an_abandoned_one_at_the_next_start(tmp_path: Path) -> None:
    """Nothing is left in the data directory, even after kill -9; folders of other people are left alone."""
    own = tmp_path / "metrics-of-mine"
    own.mkdir()
    living = MetricsFolder(tmp_path)
    abandoned = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys; from pathlib import Path\n"
            "from gateway_proxy.telemetry.metrics_folder import MetricsFolder\n"
            f"print(MetricsFolder(Path({str(tmp_path)!r})).path, flush=True); os.kill(os.getpid(), 9)",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert Path(abandoned.stdout.strip()).is_dir(), abandoned.stderr

    second = MetricsFolder(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {own.name, living.path.name, second.path.name}
    living.remove()
    second.remove()
    assert [path.name for path in tmp_path.iterdir()] == [own.name]
