"""The only reader of the environment. Everything it learns is passed on; no other room imports this module.

A setting is one row of `SPECIFICATION`, so that the reference page can be checked against it. Problems are collected
and reported together: a start that fails names everything that is missing or wrong.
"""

import ipaddress
import os
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from gateway_proxy.domain.errors import SettingsInvalid

PREFIX: Final = "GATEWAY_"
MINIMUM_KEY_LENGTH: Final = 32
_HOST: Final = re.compile(r"(?!-)[a-z0-9._-]{1,253}|\[[0-9a-f:.]+\]")
LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process. Durations are seconds, addresses are checked, secrets are not in `repr`."""

    public_url: str
    name: str
    database_url: str = field(repr=False)
    redis_url: str | None = field(repr=False)
    secret_keys: tuple[str, ...] = field(repr=False)
    admin_api_key: str | None = field(repr=False)
    egress_allow: tuple[str, ...]
    runner_url: str | None
    runner_key: str | None = field(repr=False)
    runner_tls_ca: Path | None
    runner_tls_cert: Path | None
    runner_tls_key: Path | None
    data_dir: Path
    host: str
    port: int
    workers: int
    log_level: str
    trusted_proxies: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    cors_origins: tuple[str, ...]
    access_ttl: float
    refresh_ttl: float
    refresh_grace: float
    stream_ttl: float | None

    @property
    def is_embedded(self) -> bool:
        """Whether the first-look defaults are in use: SQLite and the in-process session store."""
        return self.database_url.startswith("sqlite") and self.redis_url is None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read, check and complete the settings; on the embedded default, secret keys are made and kept on disk.

        Raises:
            SettingsInvalid: Naming every missing or wrong value at once.
        """
        values = read_fields([row.field for row in SPECIFICATION], environ)
        problems: list[str] = []
        _complete(values, problems)
        if problems:
            raise SettingsInvalid(tuple(problems))
        return cls(**values)


def read_fields(fields: Collection[str], environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Some settings by field name, unchecked against each other: for a process that may not hold the rest (the runner).

    Raises:
        SettingsInvalid: Naming every wrong value at once.
    """
    source = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    problems: list[str] = []
    for row in SPECIFICATION:
        if row.field not in fields:
            continue
        try:
            text = _text_of(row, source)
            values[row.field] = row.parse(text) if text else row.default
        except ValueError as error:
            problems.append(f"{row.name}: {error}")
    if problems:
        raise SettingsInvalid(tuple(problems))
    return values


def read_process_environment() -> Mapping[str, str]:
    """The environment as the process got it, for what expands `${VAR}` in a configuration file or reads aliases."""
    return os.environ


def extend_process_environment(values: Mapping[str, str]) -> None:
    """Hand settings to the processes that this one is about to start: flags, translated names, the runner's address."""
    os.environ.update(values)


def find_metrics_folder() -> Path | None:
    """Where `serve` has its workers keep their counts, when there are several. Not a setting of anybody's."""
    path = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    return Path(path) if path else None


def _text_of(row: "Row", source: Mapping[str, str]) -> str:
    """The setting's text: from the environment, or for a secret from the file that `<name>_FILE` names."""
    path = source.get(f"{row.name}_FILE", "").strip() if row.is_secret else ""
    if not path:
        return source.get(row.name, "").strip()
    if source.get(row.name, "").strip():
        raise ValueError(f"expected either {row.name} or {row.name}_FILE, not both")
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"the file named by {row.name}_FILE cannot be read") from None


def _complete(values: dict[str, Any], problems: list[str]) -> None:
    data_dir: Path = values["data_dir"]
    if values["database_url"] is None:
        values["database_url"] = f"sqlite+aiosqlite:///{data_dir / 'gateway.db'}"
    if values["workers"] > 1 and values["redis_url"] is None:
        problems.append("GATEWAY_REDIS_URL: required when GATEWAY_WORKERS is more than 1")
    if values["runner_url"] and not values["runner_key"]:
        problems.append("GATEWAY_RUNNER_KEY: required when GATEWAY_RUNNER_URL is set")
    if values["secret_keys"]:
        return
    if values["database_url"].startswith("sqlite"):
        values["secret_keys"] = (_kept_secret_key(data_dir),)
    else:
        problems.append("GATEWAY_SECRET_KEYS: required with this database; make one with `openssl rand -base64 48`")


def _kept_secret_key(data_dir: Path) -> str:
    """The key of the embedded default: made once, in a file that only this user may read."""
    path = data_dir / "secret.key"
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text("ascii").strip()
    key = secrets.token_urlsafe(48)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key + "\n")
    return key


# --- parsers: text in, value out, ValueError with what was expected ------------------------------------------------
def _public_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("expected https://host, or http:// on a loopback address")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError("expected https:// (http is for 127.0.0.1, ::1 and localhost only)")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError("expected scheme, host and port only, without a path")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _database_url(text: str) -> str:
    if not text.startswith(("postgresql+asyncpg://", "sqlite+aiosqlite://")):
        raise ValueError("expected postgresql+asyncpg://… or sqlite+aiosqlite:///…")
    return text


def _redis_url(text: str) -> str:
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("expected redis://…, rediss://… or unix://…")
    return text


def _secret_keys(text: str) -> tuple[str, ...]:
    keys = _comma_list(text)
    for number, key in enumerate(keys, start=1):
        if len(key) < MINIMUM_KEY_LENGTH or len(set(key)) < 10:
            raise ValueError(
                f"key {number} is too short or too simple; expected {MINIMUM_KEY_LENGTH} random characters"
            )
    if len(set(keys)) != len(keys):
        raise ValueError("expected different keys; one stands there twice")
    return keys


def _admin_api_key(text: str) -> str:
    if len(text) < MINIMUM_KEY_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"expected at least {MINIMUM_KEY_LENGTH} visible ASCII characters, as in a bearer token")
    return text


def _runner_url(text: str) -> str:
    if not text.startswith(("unix:", "https://")):
        raise ValueError("expected unix:/path or https://host:port")
    return text


def _comma_list(text: str) -> tuple[str, ...]:
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


def _networks(text: str) -> tuple[str, ...]:
    for part in (parts := _comma_list(text)):
        try:
            ipaddress.ip_network(part, strict=False)
        except ValueError:
            raise ValueError(f"expected addresses or networks such as 172.16.0.0/12, got {part!r}") from None
    return parts


def _hosts(text: str) -> tuple[str, ...]:
    for part in (parts := _comma_list(text.lower())):
        if _HOST.fullmatch(part) is None:
            raise ValueError(
                f"expected host names such as gateway or 192.168.1.5, without scheme and port, got {part!r}"
            )
    return parts


def _origins(text: str) -> tuple[str, ...]:
    for part in (parts := _comma_list(text)):
        pieces = urlsplit(part)
        if part != "*" and (pieces.scheme not in ("http", "https") or not pieces.netloc or pieces.path):
            raise ValueError(f"expected origins such as https://chat.example.com, got {part!r}")
    return parts


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], units[text[-1]]) if text[-1] in units else (text, 1)
    try:
        value = float(number) * unit
    except ValueError:
        raise ValueError("expected seconds, or a number with s, m, h or d") from None
    if not 0 <= value <= 366 * 86400:
        raise ValueError("expected between 0 and 366d")
    return value


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return int(text)

    return parse


def _access_ttl(text: str) -> float:
    value = _seconds(text)
    if not 300 < value <= 86400:
        raise ValueError("expected more than 300 s (clients refresh five minutes early) and at most 1d")
    return value


def _grace(text: str) -> float:
    value = _seconds(text)
    if value > 300:
        raise ValueError("expected at most 300 s")
    return value


def _stream_ttl(text: str) -> float | None:
    value = _seconds(text)
    if 0 < value < 1:
        raise ValueError("expected at least 1 s, or 0 for no limit")
    return value or None


def _log_level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError("expected debug, info, warning or error")
    return text.lower()


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _name(text: str) -> str:
    if len(text) > 100 or not text.isprintable():
        raise ValueError("expected at most 100 printable characters")
    return text


def _text(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Row:
    """One setting: its environment name, its field, its default and how its text is read."""

    name: str
    field: str
    parse: Callable[[str], Any]
    default: Any
    is_secret: bool = False


SPECIFICATION: Final[tuple[Row, ...]] = (
    Row("GATEWAY_PUBLIC_URL", "public_url", _public_url, "http://127.0.0.1:8000"),
    Row("GATEWAY_NAME", "name", _name, "gateway-proxy"),
    Row("GATEWAY_DATABASE_URL", "database_url", _database_url, None, is_secret=True),
    Row("GATEWAY_REDIS_URL", "redis_url", _redis_url, None, is_secret=True),
    Row("GATEWAY_SECRET_KEYS", "secret_keys", _secret_keys, (), is_secret=True),
    Row("GATEWAY_ADMIN_API_KEY", "admin_api_key", _admin_api_key, None, is_secret=True),
    Row("GATEWAY_EGRESS_ALLOW", "egress_allow", _comma_list, ()),
    Row("GATEWAY_RUNNER_URL", "runner_url", _runner_url, None),
    Row("GATEWAY_RUNNER_KEY", "runner_key", _text, None, is_secret=True),
    Row("GATEWAY_RUNNER_TLS_CA", "runner_tls_ca", _path, None),
    Row("GATEWAY_RUNNER_TLS_CERT", "runner_tls_cert", _path, None),
    Row("GATEWAY_RUNNER_TLS_KEY", "runner_tls_key", _path, None),
    Row("GATEWAY_DATA_DIR", "data_dir", _path, Path("data").absolute()),
    Row("GATEWAY_HOST", "host", _text, "127.0.0.1"),
    Row("GATEWAY_PORT", "port", _integer(1, 65535), 8000),
    Row("GATEWAY_WORKERS", "workers", _integer(1, 64), 1),
    Row("GATEWAY_LOG_LEVEL", "log_level", _log_level, "info"),
    Row("GATEWAY_TRUSTED_PROXIES", "trusted_proxies", _networks, ()),
    Row("GATEWAY_ALLOWED_HOSTS", "allowed_hosts", _hosts, ()),
    Row("GATEWAY_CORS_ORIGINS", "cors_origins", _origins, ()),
    Row("GATEWAY_ACCESS_TTL", "access_ttl", _access_ttl, 3600.0),
    Row("GATEWAY_REFRESH_TTL", "refresh_ttl", _seconds, 30 * 86400.0),
    Row("GATEWAY_REFRESH_GRACE", "refresh_grace", _grace, 30.0),
    Row("GATEWAY_STREAM_TTL", "stream_ttl", _stream_ttl, None),
)
