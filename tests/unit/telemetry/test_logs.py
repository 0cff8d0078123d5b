"""Logs: one JSON line each, secrets redacted, line breaks neutralised, no message of an unexpected error."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from gateway_proxy.telemetry.logs import configure_logs, get_log

TOKEN = "gw_at_" + "A1b2" * 10 + "xyz"


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_is_json_and_holds_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """reference A1: redaction by name and by token prefix."""
    configure_logs("info")
    get_log("test").info("token_seen", password="hunter2", note=f"Bearer {TOKEN}", user_id="u1")
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "token_seen"
    assert line["user_id"] == "u1"
    assert "hunter2" not in json.dumps(line)
    assert TOKEN not in json.dumps(line)


def test_lines_of_libraries_are_redacted_too(capsys: pytest.CaptureFixture[str]) -> None:
    """reference A1: also uvicorn's and the HTTP client's lines."""
    configure_logs("info")
    logging.getLogger("uvicorn.error").warning("GET /cb?token=%s", TOKEN)
    assert TOKEN not in capsys.readouterr().err


def test_line_breaks_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """reference A2: CR/LF neutralised."""
    configure_logs("info")
    get_log("test").info("named", name='x\r\n{"event":"forged"}')
    assert len(capsys.readouterr().err.splitlines()) == 1


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_line_is_for_reading_and_holds_no_secret_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Design, For people: the first minutes are spent at a terminal. Reference A1."""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logs("info")
    get_log("test").info("token_seen", password="hunter2", user_id="u1")
    (line,) = terminal.getvalue().splitlines()
    assert "token_seen" in line
    assert "u1" in line
    assert not line.startswith("{")
    assert "hunter2" not in line


def test_an_unexpected_error_is_logged_by_place_not_by_message(capsys: pytest.CaptureFixture[str]) -> None:
    """reference F20: no tracebacks with values."""
    configure_logs("info")
    try:
        raise ValueError("the password is hunter2")
    except ValueError:
        get_log("test").error("failed", exc_info=True)
    line = json.loads(capsys.readouterr().err)
    assert line["error"] == "ValueError"
    assert any("test_logs.py" in frame for frame in line["trace"])
    assert "hunter2" not in json.dumps(line)
