"""From the environment (and flags) to settings, with the older systems' names translated. Nothing else reads either.

Our own names win over older ones; every older name that was used gives one notice for the log.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway_proxy.domain.errors import SettingsInvalid
from gateway_proxy.settings import LOOPBACK_HOSTS, Settings, read_process_environment

CONFIG_NAME: Final = "CONFIG_PATH"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_LEVELS: Final = {"warn": "warning", "critical": "error", "fatal": "error", "trace": "debug", "notset": "debug"}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command was started with. `changes` are the settings that its child processes have to be told."""

    environ: Mapping[str, str] = field(repr=False)
    settings: Settings
    changes: Mapping[str, str] = field(repr=False)
    notices: tuple[str, ...] = ()

    @property
    def older_config(self) -> Path | None:
        """The configuration file that the older name points to."""
        path = self.environ.get(CONFIG_NAME, "").strip()
        return Path(path) if path else None


def read_surroundings(flags: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None) -> Surroundings:
    """Read the settings; `flags` (by setting name) win over everything.

    Raises:
        SettingsInvalid: Naming every missing or wrong value, by the name under which it was given.
    """
    process = dict(read_process_environment() if environ is None else environ)
    changes, sources, notices = _translated(process)
    changes |= flags or {}
    merged = process | changes
    if not merged.get("GATEWAY_PUBLIC_URL", "").strip():
        changes |= _own_address(merged)
    try:
        settings = Settings.from_environment(process | changes)
    except SettingsInvalid as error:
        raise SettingsInvalid(
            tuple(_by_given_name(problem, sources, flags or {}) for problem in error.problems)
        ) from None
    return Surroundings(process, settings, changes, tuple(notices))


def _translated(environ: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Settings under older names: the values by our name, the older name of each, and the notices."""
    changes: dict[str, str] = {}
    sources: dict[str, str] = {}
    notices: list[str] = []
    for older, name, translate in _OLDER:
        value = environ.get(older, "").strip()
        translated = translate(value) if value else None
        if translated is None:
            continue
        given = {known: environ.get(known, "").strip() for known in (name, f"{name}_FILE")}
        if name in changes:
            given = {sources[name]: changes[name]}
        winner = next((known for known, text in given.items() if text), None)
        if winner is None:
            changes[name] = translated
            sources[name] = older
            notices.append(f"{older}: read as {name}; please use that name")
        elif given[winner].lower() != translated.lower():
            notices.append(f"{older}: ignored, {winner} is set and says something else")
    if environ.get(CONFIG_NAME, "").strip():
        notices.append(f"{CONFIG_NAME}: read as --config; please use that flag")
    return changes, sources, notices


def _own_address(environ: Mapping[str, str]) -> dict[str, str]:
    """Without a public URL only this machine is served: the loopback address with the port that was asked for."""
    port = environ.get("GATEWAY_PORT", "").strip()
    host = environ.get("GATEWAY_HOST", "").strip()
    host = host if host in LOOPBACK_HOSTS else "127.0.0.1"
    written = f"[{host}]" if ":" in host else host
    return {"GATEWAY_PUBLIC_URL": f"http://{written}:{port or 8000}"} if port.isdigit() or host != "127.0.0.1" else {}


def _by_given_name(problem: str, sources: Mapping[str, str], flags: Mapping[str, str]) -> str:
    name, separator, rest = problem.partition(":")
    if name in flags:
        return f"--{name.removeprefix('GATEWAY_').lower().replace('_', '-')}{separator}{rest}"
    return f"{sources.get(name, name)}{separator}{rest}"


def _debug_level(value: str) -> str | None:
    return "debug" if value.lower() in _TRUE else None


def _level(value: str) -> str:
    return _LEVELS.get(value.lower(), value.lower())


def _same(value: str) -> str:
    return value


_OLDER: Final[tuple[tuple[str, str, Callable[[str], str | None]], ...]] = (
    ("DEBUG_OUTPUT", "GATEWAY_LOG_LEVEL", _debug_level),
    ("DEBUG", "GATEWAY_LOG_LEVEL", _debug_level),
    ("LOG_LEVEL", "GATEWAY_LOG_LEVEL", _level),
    ("PORT", "GATEWAY_PORT", _same),
    ("ADMIN_API_KEY", "GATEWAY_ADMIN_API_KEY", _same),
)
