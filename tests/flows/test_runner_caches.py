"""Story: what a package runner downloaded for a server is there at its next start (compatibility.md B4)."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.runner import Hosted, child_spec, host, running_runner, until_ended

_NAMES = ("npm_config_cache", "UV_CACHE_DIR", "XDG_CACHE_HOME")


async def _environment(hosted: Hosted) -> dict[str, str]:
    told: dict[str, Any] = json.loads((await hosted.call("tell")).text)
    environ: dict[str, str] = told["environ"]
    return environ


async def _one_life(http: httpx2.AsyncClient, **fields: Any) -> dict[str, str]:
    """Start a child, ask for its environment, end it."""
    hosted = await host(http, child_spec("counter", **fields))
    environment = await _environment(hosted)
    await http.delete(f"/children/{hosted.key}")
    return environment


async def test_caches_live_on_and_homes_do_not(tmp_path: Path) -> None:
    """A fresh HOME for every life; caches of one definition under the data directory, of another somewhere else."""
    with running_runner(tmp_path, data_dir=str(tmp_path / "data")) as runner:
        async with runner.open_http() as http:
            first = await _one_life(http)
            (Path(first["npm_config_cache"]) / "package").write_text("warm")
            second = await _one_life(http)
            foreign = await _one_life(http, tenant="other")
    for name in _NAMES:
        assert Path(first[name]).is_relative_to(tmp_path / "data")
        assert first[name] == second[name]
        assert first[name] != foreign[name]
    assert first["HOME"] != second["HOME"]
    assert not Path(first["HOME"]).exists()
    assert (Path(second["npm_config_cache"]) / "package").read_text() == "warm"
    assert list(Path(foreign["npm_config_cache"]).iterdir()) == []


async def test_what_the_definition_sets_itself_is_left_to_it(tmp_path: Path) -> None:
    """npm reads its variables in any case: two of them would be a matter of luck."""
    with running_runner(tmp_path, data_dir=str(tmp_path / "data")) as runner:
        async with runner.open_http() as http:
            environment = await _one_life(http, env={"NPM_CONFIG_CACHE": "/a", "UV_CACHE_DIR": "/b"})
            at_home = await _one_life(http, env={"HOME": "/c"})
    assert "npm_config_cache" not in environment
    assert (environment["NPM_CONFIG_CACHE"], environment["UV_CACHE_DIR"]) == ("/a", "/b")
    assert Path(environment["XDG_CACHE_HOME"]).is_relative_to(tmp_path / "data")
    assert not set(_NAMES) & at_home.keys()


async def test_a_forgotten_definition_leaves_nothing_behind(tmp_path: Path) -> None:
    """The gateway says when a definition is gone; the body is checked like every other."""
    with running_runner(tmp_path, data_dir=str(tmp_path / "data")) as runner:
        async with runner.open_http() as http:
            hosted = await host(http, child_spec("counter"))
            folder = Path((await _environment(hosted))["UV_CACHE_DIR"]).parent
            owner = {"tenant": "acme", "label": "acme/counter"}
            assert (await http.request("DELETE", "/caches", json=owner)).json() == {"forgotten": True}
            assert folder.is_dir()
            await http.delete(f"/children/{hosted.key}")
            refused = await http.request("DELETE", "/caches", json={"tenant": "acme"})
            assert (refused.status_code, refused.json()["detail"]) == (400, "label: expected a value")
    assert not folder.exists()


async def test_a_child_that_cannot_be_started_holds_no_cache(tmp_path: Path) -> None:
    """Else what it had would stay for ever."""
    with running_runner(tmp_path, data_dir=str(tmp_path / "data")) as runner:
        async with runner.open_http() as http:
            response = await http.put(f"/children/{'a' * 64}", json=child_spec("counter", command="/no/such/program"))
            assert response.json()["detail"] == "the command was not found"
            await http.request("DELETE", "/caches", json={"tenant": "acme", "label": "acme/counter"})
            assert list((tmp_path / "data" / "caches").iterdir()) == []


@pytest.mark.parametrize("is_file", [True, False])
async def test_a_runner_without_a_usable_data_directory_runs_all_the_same(tmp_path: Path, is_file: bool) -> None:
    """A cache is a convenience."""
    (tmp_path / "file").touch()
    options = {"data_dir": str(tmp_path / "file")} if is_file else {}
    with running_runner(tmp_path, **options) as runner:
        async with runner.open_http() as http:
            environment = await _one_life(http)
        assert not set(_NAMES) & environment.keys()
        assert ("runner.caches_unusable" in runner.log.read_text()) is is_file


async def test_a_crash_lets_go_of_the_cache(tmp_path: Path) -> None:
    """However a life ends."""
    with running_runner(tmp_path, data_dir=str(tmp_path / "data")) as runner:
        async with runner.open_http() as http:
            hosted = await host(http, child_spec("crasher"))
            await hosted.call("crash")
            await until_ended(http, hosted.key)
            await http.request("DELETE", "/caches", json={"tenant": "acme", "label": "acme/crasher"})
    assert list((tmp_path / "data" / "caches").iterdir()) == []
