"""Homes of children."""

import os
import stat
from pathlib import Path

from gateway_proxy.runner.homes import Homes


def test_a_home_is_private_and_gone_with_its_child(tmp_path: Path) -> None:
    """security.md P2: HOME is a private directory of ours."""
    homes = Homes(tmp_path)
    home = Path(homes.open_home("a"))
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    (home / "cache").write_text("warm")
    homes.remove_home("a")
    homes.remove_home("never there")
    homes.open_home("b")
    assert not home.exists()
    homes.close()
    assert list(tmp_path.iterdir()) == []


def test_homes_of_a_living_runner_are_left_alone_and_those_of_a_dead_one_removed(tmp_path: Path) -> None:
    """The lock tells them apart, and the kernel drops it whatever way the owner died."""
    living = Homes(tmp_path)
    kept = Path(living.open_home("a"))
    dead = tmp_path / "gateway-runner-dead"
    (dead / "home").mkdir(parents=True)
    (dead / "lock").touch()
    stranger = tmp_path / "gateway-runner-link"
    stranger.symlink_to(os.devnull)
    second = Homes(tmp_path)
    assert kept.is_dir()
    assert not dead.exists()
    assert stranger.is_symlink()
    second.close()
    living.close()
