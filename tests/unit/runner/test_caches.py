"""Folders in which children find again what they downloaded."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway_proxy.runner.caches import KEPT_SECONDS, Cache, Caches, measure
from gateway_proxy.runner.launch import LaunchSpec
from tests.support.clock import FakeClock

MEGABYTE = 1024 * 1024


def _spec(tenant: str = "acme", label: str = "calc", command: str = "npx", *args: str) -> LaunchSpec:
    return LaunchSpec(tenant=tenant, label=label, command=command, args=list(args))


def _open(caches: Caches, spec: LaunchSpec) -> Cache:
    cache = caches.open(spec)
    assert cache is not None
    return cache


def _npm(cache: Cache) -> Path:
    return Path(cache.environment["npm_config_cache"])


def _fill(caches: Caches, spec: LaunchSpec, megabytes: int = 0) -> Path:
    """A start that leaves a file behind."""
    cache = _open(caches, spec)
    left = _npm(cache) / "package.tgz"
    left.write_bytes(b"x" * (megabytes * MEGABYTE + 1))
    cache.close()
    return left


@pytest.fixture
def caches(tmp_path: Path, clock: FakeClock) -> Caches:
    """With limits of 4 MiB for one and 7 MiB for all."""
    return Caches(tmp_path / "data" / "caches", clock=clock, most_of_one=4 * MEGABYTE, most_of_all=7 * MEGABYTE)


def test_a_definition_finds_its_folder_again_and_no_other_does(caches: Caches) -> None:
    """A server could poison what another runs: never shared between tenants, servers, or commands of one name."""
    left = _fill(caches, _spec())
    again = _open(caches, _spec())
    assert _npm(again) == left.parent
    assert left.exists()
    others = [_spec("other"), _spec("acme", "calc2"), _spec("acme", "calc", "uvx"), _spec("acme", "calc", "npx", "x")]
    places = {_npm(_open(caches, spec)) for spec in others}
    assert len(places | {left.parent}) == 5
    assert not any((place / left.name).exists() for place in places)
    for place in again.environment.values():
        assert stat.S_IMODE(Path(place).stat().st_mode) == 0o700
    assert sorted(again.environment) == ["UV_CACHE_DIR", "XDG_CACHE_HOME", "npm_config_cache"]


def test_several_may_use_one_folder_at_once(caches: Caches) -> None:
    """Package runners lock their caches themselves."""
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(lambda _: caches.open(_spec()), range(24)))
    assert len({_npm(cache) for cache in opened if cache is not None}) == 1
    assert None not in opened


def test_a_folder_over_its_limit_is_emptied_between_starts_and_not_under_a_child(caches: Caches) -> None:
    """The cap is kept where nobody is disturbed."""
    living = _open(caches, _spec())
    left = _fill(caches, _spec(), megabytes=5)
    beside = _open(caches, _spec())
    caches.tidy()
    assert left.exists()
    living.close()
    beside.close()
    fresh = _open(caches, _spec())
    assert _npm(fresh) == left.parent
    assert not left.exists()


def test_what_was_not_used_for_long_is_removed_unless_it_is_in_use(caches: Caches, clock: FakeClock) -> None:
    """A month: what a server left that nobody starts any more."""
    gone, kept = _fill(caches, _spec("gone")), _fill(caches, _spec("kept"))
    living = _open(caches, _spec("living"))
    clock.advance(KEPT_SECONDS - 5)
    _open(caches, _spec("kept")).close()
    clock.advance(10)
    caches.tidy()
    assert not gone.exists()
    assert kept.exists()
    assert _npm(living).exists()


def test_over_the_limit_of_all_the_longest_unused_go_first(caches: Caches, clock: FakeClock) -> None:
    """The disk is the runner's, whoever fills it."""
    left = []
    for name in "abc":
        left.append(_fill(caches, _spec(name), megabytes=3))
        clock.advance(1)
    living = _open(caches, _spec("a"))
    caches.tidy()
    assert [each.exists() for each in left] == [True, False, True]
    living.close()


def test_a_forgotten_definition_loses_its_folder_at_once_or_with_its_last_child(caches: Caches) -> None:
    """All commands that the server ever had; a child under way is not robbed."""
    old, other = _fill(caches, _spec("acme", "calc", "old")), _fill(caches, _spec("acme", "calc2"))
    living = _open(caches, _spec())
    caches.forget("acme", "calc")
    assert not old.exists()
    assert _npm(living).exists()
    living.close()
    living.close()
    assert not _npm(living).exists()
    assert other.exists()


def test_links_are_never_followed(caches: Caches, tmp_path: Path) -> None:
    """Neither where a folder should be nor within one."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_bytes(b"x" * 8 * MEGABYTE)
    place = _npm(_open(caches, _spec())).parent
    inside = _npm(_open(caches, _spec("inside")))
    (inside / "link").symlink_to(precious)
    assert measure(inside, 100 * MEGABYTE) < MEGABYTE
    caches.forget("inside", "calc")
    part = _open(caches, _spec("part"))
    part.close()
    _npm(part).rmdir()
    _npm(part).symlink_to(precious)
    assert caches.open(_spec("part")) is None
    moved = place.rename(place.with_name("elsewhere"))
    place.symlink_to(precious)
    assert caches.open(_spec()) is None
    caches.forget("acme", "calc")
    caches.tidy()
    assert place.is_symlink()
    assert moved.exists()
    assert [each.name for each in precious.iterdir()] == ["file"]


def test_a_root_that_is_not_a_directory_of_ours_is_not_used(tmp_path: Path, clock: FakeClock) -> None:
    """A runner without a place for caches runs all the same, and says so."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="something else than a directory of this user"):
        Caches(tmp_path / "link", clock=clock)
    caches = Caches(tmp_path / "real", clock=clock)
    (tmp_path / "real").rmdir()
    assert caches.open(_spec()) is None
    caches.forget("acme", "calc")


def test_what_a_program_made_read_only_is_removed_too(caches: Caches) -> None:
    """Module caches of some languages are."""
    left = _fill(caches, _spec())
    left.parent.chmod(0o500)
    caches.forget("acme", "calc")
    assert not left.exists()
    assert list(left.parents[2].iterdir()) == []


def test_another_runner_on_the_same_folders_does_not_remove_what_is_in_use(caches: Caches, clock: FakeClock) -> None:
    """Two gateways with one data directory, or the old runner and the new one during a deploy."""
    living = _open(caches, _spec())
    other = Caches(_npm(living).parents[1], clock=clock, most_of_one=0)
    clock.advance(2 * KEPT_SECONDS)
    other.tidy()
    assert _npm(living).exists()
    living.close()
    other.tidy()
    assert not _npm(living).exists()


def test_hard_links_are_counted_once(tmp_path: Path) -> None:
    """uv links its environments to its archive."""
    (tmp_path / "a").write_bytes(b"x" * MEGABYTE)
    for number in range(20):
        os.link(tmp_path / "a", tmp_path / str(number))
    assert MEGABYTE <= measure(tmp_path, 100 * MEGABYTE) < 2 * MEGABYTE
