"""Reading a configuration file for a command: what `provisioning` says of it gets the file's name before it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.provisioning.config_file import read_config_file
from gateway_proxy.provisioning.desired_state import DesiredState


def read_config(path: Path, environ: Mapping[str, str]) -> DesiredState:
    """Read a configuration file. Every notice begins with the path as it was given.

    Raises:
        ConfigFileInvalid: So does every problem.
    """
    try:
        state = read_config_file(path, environ)
    except ConfigFileInvalid as error:
        raise ConfigFileInvalid(tuple(f"{path}: {problem}" for problem in error.problems)) from None
    return replace(state, notices=tuple(f"{path}: {notice}" for notice in state.notices))
