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
    """A file comes first, and what it says of a tenant holds: environment names add only what it has none of."""
    states: tuple[DesiredState, ...] = ()
    if config is not None:
        state, notices = read_config(config, environ)
        if state.find_tenant(DEFAULT_TENANT) is not None:
            return Wanted((state,), tuple(notices))
        states = (state,)
    aliases, notices = desired_state_from_environment(environ)
    return Wanted((*states, aliases) if aliases.tenants else states, tuple(notices))
