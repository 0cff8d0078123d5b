"""`preparation` in a process of its own, beside the start of the runner and of the workers.

What it needs (SQLAlchemy, drivers, the rules of configurations) is 50 MB that a supervisor would keep for as long as
the service lives.
"""

import asyncio
import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gateway_proxy.cli.collector import collector_at_rest
from gateway_proxy.cli.environment import Surroundings
from gateway_proxy.cli.group import Explained, explain
from gateway_proxy.cli.parent_death import end_with_parent


class Preparing:
    """One preparation under way. An error is told to the supervisor, so that it is said once, and last."""

    def __init__(self, surroundings: Surroundings, config: Path | None, *, first_look: bool) -> None:
        """Begin."""
        self.welcome: str | None = None
        reading, writing = os.pipe()
        supervisor = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:  # nothing of the command that we are a copy of may go on here, whatever happens
                os.close(reading)
                end_with_parent(supervisor)
                told = _prepare_and_tell(surroundings, config, first_look=first_look)
                with os.fdopen(writing, "w") as pipe:
                    json.dump(told, pipe)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writing)
        self._reading = reading

    def wait(self) -> None:
        """Wait for the end. `welcome` is what a first look is to be told then, also if the rest failed.

        Raises:
            Explained: It failed.
            click.ClickException: It was ended.
        """
        with os.fdopen(self._reading) as pipe:
            told = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if status != 0:
            cause = f"by signal {-status}" if status < 0 else f"with status {status}"
            raise click.ClickException(f"preparing the database was ended {cause}")
        outcome = json.loads(told)
        self.welcome = outcome["welcome"]
        if outcome["status"] != 0:
            raise Explained(tuple(outcome["sentences"]), outcome["status"])


def prepare_here(
    surroundings: Surroundings, config: Path | None, *, first_look: bool, tell: Callable[[str], None]
) -> None:
    """The same in this process, which keeps what it imports for that; `tell` takes the welcome."""
    with collector_at_rest():
        preparation = importlib.import_module("gateway_proxy.cli.preparation")
    asyncio.run(preparation.prepare(surroundings, config, first_look=first_look, tell=tell))


def _prepare_and_tell(surroundings: Surroundings, config: Path | None, *, first_look: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"status": 0, "welcome": None}
    try:
        prepare_here(surroundings, config, first_look=first_look, tell=lambda text: told.update(welcome=text))
    except Exception as error:  # noqa: BLE001 - as at the boundary of commands, from where it is said
        explained = explain(error)
        told.update(status=explained.status, sentences=explained.sentences)
    return told
