"""Settings: what is refused, what is completed, and that all problems are told at once."""

import stat
from pathlib import Path

import pytest

from gateway_proxy.domain.errors import SettingsInvalid
from gateway_proxy.settings import Settings

KEY = "k3y-for-tests-0123456789-abcdefghij"


def _problems(**environ: str) -> str:
    with pytest.raises(SettingsInvalid) as caught:
        Settings.from_environment(environ)
    return str(caught.value)


def test_the_defaults_are_the_embedded_first_look(tmp_path: Path) -> None:
    """Contract: SQLite, in-process sessions, loopback, a generated key."""
    settings = Settings.from_environment({"GATEWAY_DATA_DIR": str(tmp_path / "data")})
    assert settings.is_embedded
    assert settings.public_url == "http://127.0.0.1:8000"
    assert settings.host == "127.0.0.1"
    assert settings.database_url == f"sqlite+aiosqlite:///{tmp_path / 'data' / 'gateway.db'}"
    assert settings.access_ttl == 3600


def test_the_generated_key_is_kept_and_private(tmp_path: Path) -> None:
    """Contract: a second start finds its state again."""
    environ = {"GATEWAY_DATA_DIR": str(tmp_path)}
    first, second = Settings.from_environment(environ), Settings.from_environment(environ)
    assert first.secret_keys == second.secret_keys
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600


def test_every_problem_is_named_at_once() -> None:
    """House rule: start fails naming all missing or wrong values."""
    problems = _problems(
        GATEWAY_PUBLIC_URL="http://tools.example.com",
        GATEWAY_PORT="80x",
        GATEWAY_ACCESS_TTL="60",
        GATEWAY_SECRET_KEYS="short",
        GATEWAY_STREAM_TTL="0.5",
    )
    wrong = ("GATEWAY_PUBLIC_URL", "GATEWAY_PORT", "GATEWAY_ACCESS_TTL", "GATEWAY_SECRET_KEYS", "GATEWAY_STREAM_TTL")
    for name in wrong:
        assert name in problems


@pytest.mark.parametrize(
    "url", ["ftp://a.example", "https://", "https://a.example/path", "https://u@a.example", "http://10.0.0.1", "x"]
)
def test_a_public_url_is_https_or_loopback_without_a_path(url: str) -> None:
    """Contract: GATEWAY_PUBLIC_URL."""
    assert "GATEWAY_PUBLIC_URL" in _problems(GATEWAY_PUBLIC_URL=url)


def test_a_trailing_slash_of_the_public_url_is_dropped(tmp_path: Path) -> None:
    """Contract: no trailing slash; the issuer is byte-exact."""
    environ = {"GATEWAY_PUBLIC_URL": "https://Tools.Example.com/", "GATEWAY_DATA_DIR": str(tmp_path)}
    assert Settings.from_environment(environ).public_url == "https://tools.example.com"


def test_several_workers_need_redis(tmp_path: Path) -> None:
    """Contract: `serve` refuses to start otherwise."""
    assert "GATEWAY_REDIS_URL" in _problems(GATEWAY_WORKERS="2", GATEWAY_DATA_DIR=str(tmp_path))


def test_postgresql_needs_keys_of_its_own() -> None:
    """reference K3: no generated keys outside the embedded default."""
    assert "GATEWAY_SECRET_KEYS" in _problems(GATEWAY_DATABASE_URL="postgresql+asyncpg://u:p@h/d")


def test_an_external_runner_needs_its_key(tmp_path: Path) -> None:
    """Contract: the runner authenticates every request."""
    assert "GATEWAY_RUNNER_KEY" in _problems(GATEWAY_RUNNER_URL="unix:/run/r.sock", GATEWAY_DATA_DIR=str(tmp_path))


def test_a_secret_may_come_from_a_file_but_not_from_both(tmp_path: Path) -> None:
    """Issue: secrets by file or environment."""
    file = tmp_path / "keys"
    file.write_text(KEY + "\n")
    environ = {"GATEWAY_SECRET_KEYS_FILE": str(file), "GATEWAY_DATA_DIR": str(tmp_path)}
    assert Settings.from_environment(environ).secret_keys == (KEY,)
    assert "not both" in _problems(**environ, GATEWAY_SECRET_KEYS=KEY)
    assert "cannot be read" in _problems(GATEWAY_SECRET_KEYS_FILE=str(tmp_path / "nothing"))


def test_settings_do_not_show_secrets(tmp_path: Path) -> None:
    """House rule: secrets never reach a log by way of repr."""
    environ = {
        "GATEWAY_SECRET_KEYS": KEY,
        "GATEWAY_ADMIN_API_KEY": "a" * 40,
        "GATEWAY_DATABASE_URL": "postgresql+asyncpg://user:hunter2@h/d",
        "GATEWAY_DATA_DIR": str(tmp_path),
    }
    shown = repr(Settings.from_environment(environ))
    assert KEY not in shown
    assert "hunter2" not in shown
    assert "a" * 40 not in shown


@pytest.mark.parametrize("hosts", ["https://gateway", "gateway:8000", "a b", "-x", "*"])
def test_an_allowed_host_is_a_name_and_no_more(hosts: str) -> None:
    """GATEWAY_ALLOWED_HOSTS is compared with the Host header, less its port."""
    assert "GATEWAY_ALLOWED_HOSTS" in _problems(GATEWAY_ALLOWED_HOSTS=hosts)


def test_allowed_hosts_are_lower_case(tmp_path: Path) -> None:
    """Host names are compared without regard to case."""
    environ = {"GATEWAY_ALLOWED_HOSTS": "Gateway, [FD00::5],192.168.1.5", "GATEWAY_DATA_DIR": str(tmp_path)}
    assert Settings.from_environment(environ).allowed_hosts == ("gateway", "[fd00::5]", "192.168.1.5")
