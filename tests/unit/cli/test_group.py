"""The boundary of the command line: help, statuses and one line per error."""

import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from gateway_proxy.cli import main
from gateway_proxy.cli.group import GatewayGroup
from gateway_proxy.domain import errors
from gateway_proxy.domain.errors import ConfigFileInvalid, GatewayError
from tests.support.clock import START


def run(group: click.Group, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        group.main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def group_of(work: Callable[[], object]) -> GatewayGroup:
    return GatewayGroup("gateway-proxy", commands={"work": click.Command("work", callback=work)})


def test_help_lists_every_command_without_loading_one() -> None:
    """Plan of the command line: `--help` stays quick."""
    code = "import sys; from gateway_proxy.cli import main\ntry: main(['--help'])\nfinally: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0
    for command in ("serve", "runner", "migrate", "apply", "export", "user", "token"):
        assert f"\n  {command} " in done.stdout
    assert "sqlalchemy" not in done.stdout
    assert "uvicorn" not in done.stdout


@pytest.mark.parametrize("name", list(main.commands))
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Contract, command line: every command has `--help`."""
    assert run(main, name, "--help") == 0
    command = main.commands[name]
    leaves = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    for leaf in leaves:
        assert "Example" in (leaf.help or ""), leaf.name
        assert all(
            parameter.help for parameter in leaf.params if isinstance(parameter, click.Option) and not parameter.hidden
        )
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nope"], "error: No such command 'nope' (see `gateway-proxy --help`)"),
        (["apply"], "error: Missing argument 'FILE' (see `gateway-proxy apply --help`)"),
        (["apply", "--hurry", "x"], "error: No such option '--hurry'"),
        (["token", "create", "--user", "x"], "error: Invalid value for '--user': expected an e-mail address"),
        (
            ["token", "create", "--user", "a@b", "--scope", "mcp root"],
            "error: Invalid value for '--scope': unknown scope",
        ),
        (
            ["token", "create", "--ttl", "90"],
            "error: Invalid value for '--ttl': expected a whole number with s, m, h or d",
        ),
        (["token", "create", "--ttl", "400d"], "error: Invalid value for '--ttl': expected from 1m to 366d"),
        (["user", "add", "a@b", "--role", "boss"], "error: Invalid value for '--role': 'boss' is not one of"),
        (["serve", "--transport", "pigeon"], "error: Invalid value for '--transport': 'pigeon' is not one of"),
    ],
)
def test_wrong_usage_is_status_2_and_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Contract: exit status 2 = wrong usage."""
    with pytest.raises(SystemExit) as ended:
        main.main(arguments, prog_name="gateway-proxy")

    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith(line)
    assert captured.err.count("\n") == 1


def test_every_problem_of_a_configuration_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Contract: errors on stderr, no traceback."""

    def work() -> None:
        raise ConfigFileInvalid(("a.b: expected x", "c: expected\ny"))

    assert run(group_of(work), "work") == 1
    assert capsys.readouterr().err == "error: a.b: expected x\nerror: c: expected y\n"


def test_an_unexpected_error_shows_no_value_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """Contract: never a traceback, never a library's text, never a secret."""

    def work() -> None:
        raise RuntimeError("hunter2")

    assert run(group_of(work), "work") == 1
    captured = capsys.readouterr().err
    assert captured.startswith("error: internal error (RuntimeError")
    assert "hunter2" not in captured
    assert captured.count("\n") == 1


def test_ctrl_c_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Contract: exit status 0, 1 or 2."""

    def work() -> None:
        raise KeyboardInterrupt

    assert run(group_of(work), "work") == 1
    assert capsys.readouterr().err.strip() == "error: interrupted"


def _leaves(root: type[GatewayError]) -> list[type[GatewayError]]:
    children = root.__subclasses__()
    return [leaf for child in children for leaf in _leaves(child)] if children else [root]


@pytest.mark.parametrize("leaf", _leaves(errors.GatewayError), ids=lambda leaf: leaf.__name__)
def test_every_reason_becomes_a_sentence(leaf: type[GatewayError], capsys: pytest.CaptureFixture[str]) -> None:
    """House rule: each surface maps every reason."""
    samples = {"str": "x", "tuple[str, ...]": ("x",), "frozenset[str]": frozenset({"x"}), "float": 1.0, "int": 1}
    fields = getattr(leaf, "__dataclass_fields__", {})
    values = {
        name: samples.get(str(getattr(field.type, "__name__", field.type)), START) for name, field in fields.items()
    }
    values |= {name: ("x",) for name in fields if name == "problems"}

    def work() -> None:
        raise leaf(**values)

    assert run(group_of(work), "work") == 1
    assert capsys.readouterr().err.startswith("error: ")
