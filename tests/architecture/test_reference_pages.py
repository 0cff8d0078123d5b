"""The reference pages are true: what exists has a row, and a row speaks of something that exists."""

import re
from pathlib import Path

import click

from gateway_proxy.cli import main
from gateway_proxy.domain import errors
from gateway_proxy.settings import SPECIFICATION

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def _rows(page: str) -> set[str]:
    """The first backticked word of each table row."""
    text = (REFERENCE / page).read_text()
    return {
        match for line in text.splitlines() if line.startswith("|") for match in re.findall(r"^\|\s*`([^`]+)`", line)
    }


def test_every_setting_has_a_row_and_there_are_at_most_forty() -> None:
    """Contract: settings are few and all of them documented."""
    assert {row.name for row in SPECIFICATION} == _rows("settings.md")
    assert len(SPECIFICATION) <= 40


def test_every_command_has_a_row() -> None:
    """Contract: the command line."""
    assert isinstance(main, click.Group)
    names = set(_command_names(main))
    assert names <= {row.removeprefix("gateway-proxy ").split(" [")[0].strip() for row in _rows("commands.md")} | set()


def _command_names(group: click.Group, prefix: str = "") -> list[str]:
    names = []
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if isinstance(command, click.Group):
            names += _command_names(command, f"{prefix}{name} ")
        else:
            names.append(f"{prefix}{name}")
    return names


def _leaves(root: type[Exception]) -> set[str]:
    children = root.__subclasses__()
    return {root.__name__} if not children else {name for child in children for name in _leaves(child)}


def test_every_error_reason_has_a_row() -> None:
    """House rule: errors are named for their reason, and an operator can look the reason up."""
    assert _leaves(errors.GatewayError) <= _rows("errors.md")


def _sources() -> list[str]:
    root = Path(__file__).parents[2]
    return [
        path.read_text() for folder in ("gateway_proxy", "openai_routes") for path in root.glob(f"{folder}/**/*.py")
    ]


def test_every_log_event_has_a_row() -> None:
    """House rule: log events are documented."""
    pattern = re.compile(r"\blog\.(?:debug|info|warning|error)\(\s*\"([a-z_.]+)\"")
    logged = {event for text in _sources() for event in pattern.findall(text)} - {"backend_opened"}  # an example
    assert logged <= _rows("log-events.md")


def test_every_metric_has_a_row() -> None:
    """House rule: metrics are documented."""
    pattern = re.compile(r"(?:Counter|Histogram|Gauge)\(\s*\"([a-z_]+)\"")
    named = {name for text in _sources() for name in pattern.findall(text)}
    assert named == _rows("metrics.md")
