"""`preparation` in a process of its own, beside the start of the runner.

What it needs (SQLAlchemy, alembic, drivers) is 50 MB that a supervisor would keep for as long as the service lives.
"""

import asyncio
import importlib
import json
import os
import sys
from dataclasses import asdict

import click

from gateway_proxy.cli.collector import collector_at_rest
from gateway_proxy.cli.parent_death import end_with_parent
from gateway_proxy.cli.wanted import Wanted
from gateway_proxy.cli.welcome import FirstSecrets
from gateway_proxy.settings import Settings


class Preparing:
    """One preparation under way. An error is printed where it happens, as every error of a command is."""

    def __init__(self, settings: Settings, wanted: Wanted, *, first_look: bool) -> None:
        """Begin. Call it where nothing is open that an error would close: in the child, one ends the whole command."""
        reading, writing = os.pipe()
        supervisor = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reading)
            end_with_parent(supervisor)
            secrets = prepare_here(settings, wanted, first_look=first_look)
            with os.fdopen(writing, "w") as pipe:
                json.dump(None if secrets is None else asdict(secrets), pipe)
            sys.stderr.flush()
            os._exit(0)
        os.close(writing)
        self._reading = reading

    def wait(self) -> FirstSecrets | None:
        """Wait for the end; the secrets of a first look, if they are new.

        Raises:
            click.exceptions.Exit: It failed, and has said why.
            click.ClickException: It was killed.
        """
        with os.fdopen(self._reading) as pipe:
            told = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if status < 0:
            raise click.ClickException(f"preparing the database was ended by signal {-status}")
        if status > 0:
            raise click.exceptions.Exit(status)
        secrets = json.loads(told)
        return None if secrets is None else FirstSecrets(**secrets)


def prepare_here(settings: Settings, wanted: Wanted, *, first_look: bool) -> FirstSecrets | None:
    """The same in this process, which keeps what it imports for that."""
    with collector_at_rest():
        preparation = importlib.import_module("gateway_proxy.cli.preparation")
    secrets: FirstSecrets | None = asyncio.run(preparation.prepare(settings, wanted, first_look=first_look))
    return secrets
