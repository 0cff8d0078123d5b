"""From environment and flags to settings, older names included."""

from pathlib import Path

import pytest

from gateway_proxy.cli.environment import read_surroundings
from gateway_proxy.domain.errors import SettingsInvalid


def test_older_names_are_translated_with_one_notice_each(tmp_path: Path) -> None:
    """Contract: names of the older systems keep working as aliases."""
    found = read_surroundings(
        environ={
            "GATEWAY_DATA_DIR": str(tmp_path),
            "PORT": "9001",
            "LOG_LEVEL": "WARN",
            "ADMIN_API_KEY": "k" * 31 + "2",
            "CONFIG_PATH": "/etc/gw.yaml",
        }
    )

    assert (found.settings.port, found.settings.log_level) == (9001, "warning")
    assert found.settings.admin_api_key == "k" * 31 + "2"
    assert found.settings.public_url == "http://127.0.0.1:9001"
    assert found.older_config == Path("/etc/gw.yaml")
    assert [notice.partition(":")[0] for notice in found.notices] == [
        "LOG_LEVEL",
        "PORT",
        "ADMIN_API_KEY",
        "CONFIG_PATH",
    ]


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({"DEBUG": "1"}, "debug"),
        ({"DEBUG_OUTPUT": "true"}, "debug"),
        ({"DEBUG_OUTPUT": "0"}, "info"),
        ({"DEBUG": "false", "LOG_LEVEL": "error"}, "error"),
        ({"DEBUG": "1", "GATEWAY_LOG_LEVEL": "warning"}, "warning"),
    ],
)
def test_debug_switches_mean_a_log_level_and_our_own_name_wins(
    tmp_path: Path, environ: dict[str, str], level: str
) -> None:
    """Compatibility A3."""
    assert read_surroundings(environ={"GATEWAY_DATA_DIR": str(tmp_path), **environ}).settings.log_level == level


@pytest.mark.parametrize(
    ("environ", "notices"),
    [
        ({"PORT": "8001", "GATEWAY_PORT": "8002"}, ["PORT: ignored, GATEWAY_PORT is set and says something else"]),
        ({"PORT": "8002", "GATEWAY_PORT": "8002"}, []),
        (
            {"DEBUG": "1", "LOG_LEVEL": "error"},
            [
                "DEBUG: read as GATEWAY_LOG_LEVEL; please use that name",
                "LOG_LEVEL: ignored, DEBUG is set and says something else",
            ],
        ),
        ({"DEBUG": "1", "GATEWAY_LOG_LEVEL": "Debug"}, []),
        (
            {"ADMIN_API_KEY": "k" * 31 + "2", "GATEWAY_ADMIN_API_KEY": "0123456789" * 4},
            ["ADMIN_API_KEY: ignored, GATEWAY_ADMIN_API_KEY is set and says something else"],
        ),
    ],
)
def test_an_older_name_that_loses_against_another_is_not_ignored_silently(
    tmp_path: Path, environ: dict[str, str], notices: list[str]
) -> None:
    """Contract: each older name has a one-line notice; no value is repeated in it."""
    assert list(read_surroundings(environ={"GATEWAY_DATA_DIR": str(tmp_path), **environ}).notices) == notices


def test_flags_win_and_are_what_child_processes_are_told(tmp_path: Path) -> None:
    """Contract: `serve --host --port`."""
    environ = {"GATEWAY_DATA_DIR": str(tmp_path), "GATEWAY_PORT": "8001", "GATEWAY_PUBLIC_URL": "https://x.example"}

    found = read_surroundings({"GATEWAY_PORT": "8002"}, environ)

    assert found.settings.port == 8002
    assert found.settings.public_url == "https://x.example"
    assert found.changes == {"GATEWAY_PORT": "8002"}


def test_a_wrong_value_is_named_as_it_was_given(tmp_path: Path) -> None:
    """Contract, errors: the message names the field."""
    environ = {"GATEWAY_DATA_DIR": str(tmp_path), "ADMIN_API_KEY": "short", "GATEWAY_LOG_LEVEL": "loud"}

    with pytest.raises(SettingsInvalid) as caught:
        read_surroundings({"GATEWAY_WORKERS": "none"}, environ)

    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "ADMIN_API_KEY",
        "--workers",
        "GATEWAY_LOG_LEVEL",
    ]
