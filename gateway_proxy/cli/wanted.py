"""What `serve` is to put into the database before it serves, as files and environment say. Nothing is written here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway_proxy.cli.config import read_config
from gateway_proxy.provisioning.desired_state import DEFAULT_TENANT, DesiredState
from gateway_proxy.provisioning.environment_aliases import desired_state_from_environment


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be applied before serving: the file first, then what older environment names add."""

    states: tuple[DesiredState, ...]
    notices: tuple[str, ...]


def read_wanted(config: Path | None, environ: Mapping[str, str]) -> Wanted:
    """The file is the whole truth about the tenants in it: environment names add only where it has no say."""
    aliases, notices = desired_state_from_environment(environ)
    if config is None:
        return Wanted((aliases,) if aliases.tenants else (), tuple(notices))
    state = read_config(config, environ)
    if aliases.tenants and state.find_tenant(DEFAULT_TENANT) is not None:
        ignored = tuple(f"{notice} (ignored: {config} has that tenant)" for notice in notices)
        return Wanted((state,), ignored)
    return Wanted((state, aliases) if aliases.tenants else (state,), tuple(notices))
