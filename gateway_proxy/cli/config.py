"""Reading a configuration file for a command: what `provisioning` says of it gets the file's name before it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.provisioning.config_file import read_config_file
from gateway_proxy.provisioning.desired_state import DesiredState
from gateway_proxy.provisioning.environment_aliases import with_environment


def read_config(path: Path, environ: Mapping[str, str]) -> tuple[DesiredState, list[str]]:
    """A configuration file, completed by older environment names, and a notice for each of those.

    Raises:
        ConfigFileInvalid: Every problem begins with the path as it was given; so does every notice of the state.
        SettingsInvalid: An older name has a value that cannot be used.
    """
    try:
        state = read_config_file(path, environ)
    except ConfigFileInvalid as error:
        raise ConfigFileInvalid(tuple(f"{path}: {problem}" for problem in error.problems)) from None
    state = replace(state, notices=tuple(f"{path}: {notice}" for notice in state.notices))
    return with_environment(state, environ)
