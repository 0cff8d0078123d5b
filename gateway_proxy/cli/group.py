"""The top-level group: commands that load when used, and the one boundary where errors become a line and a status.

Exit status: 0 done, 1 failed, 2 wrong usage. No command prints its own errors.
"""

import importlib
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from gateway_proxy.cli.collector import collector_at_rest
from gateway_proxy.cli.wording import sentences
from gateway_proxy.domain.errors import GatewayError


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is (module and attribute share a name) and its line in the list of commands."""

    module: str
    summary: str


class LazyCommands(MutableMapping[str, click.Command]):
    """The commands by name; a command's module is imported when the command is asked for."""

    def __init__(self, package: str, entries: Mapping[str, Entry]) -> None:
        self._package = package
        self._entries = dict(entries)
        self._added: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name in self._added:
            return self._added[name]
        entry = self._entries[name]
        with collector_at_rest():
            module = importlib.import_module(f"{self._package}.{entry.module}")
        command: click.Command = getattr(module, entry.module)
        return command

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._added[name] = command

    def __delitem__(self, name: str) -> None:
        del self._added[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._entries, *self._added])

    def __len__(self) -> int:
        return len(self._entries) + len(self._added)

    def summaries(self) -> list[tuple[str, str]]:
        """Name and line of each command, in the order in which they are needed."""
        return [(name, entry.summary) for name, entry in self._entries.items()]


class GatewayGroup(click.Group):
    """The group with our way of ending: `error: …` on stderr, one line each, never a traceback."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading any."""
        if isinstance(self.commands, LazyCommands):
            with formatter.section("Commands"):
                formatter.write_dl(self.commands.summaries())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are needed, not by the alphabet."""
        return list(self.commands)

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run a command line and end the process."""
        kwargs["standalone_mode"] = False
        try:
            result = super().main(*args, **kwargs)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        except BrokenPipeError:
            # Whoever read our output has gone: what is still buffered must not fail once more at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except Exception as error:  # noqa: BLE001 - the outermost boundary: a traceback would show values
            explained = explain(error)
            for sentence in explained.sentences:
                _say(sentence)
            sys.exit(explained.status)
        sys.exit(result if isinstance(result, int) else 0)


@dataclass(eq=False)
class Explained(Exception):
    """An error in words: `sentences` for the person at the terminal, and the exit status."""

    sentences: tuple[str, ...]
    status: int


def explain(error: Exception) -> Explained:
    """Put an error into words. What was put into words elsewhere, in a process of ours, stays as it is."""
    match error:
        case Explained():
            return error
        case click.ClickException():
            sentence = error.format_message().rstrip(".") + _where_to_look(error)
            return Explained((sentence,), 2 if isinstance(error, click.UsageError) else 1)
        case click.Abort():
            return Explained(("interrupted",), 1)
        case GatewayError():
            return Explained(sentences(error), 1)
    internal = f"internal error ({type(error).__name__} {_origin(error)}); this is a fault of the gateway"
    return Explained((internal,), 1)


def _say(sentence: str) -> None:
    click.echo(f"error: {' '.join(sentence.split())}", err=True)


def _where_to_look(error: click.ClickException) -> str:
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return ""
    return f" (see `{error.ctx.command_path} --help`)"


def _origin(error: BaseException) -> str:
    """Where an unexpected error came from: our innermost line, which is what a report needs."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if name.startswith("gateway_proxy"):
            place = f"in {name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
