"""Logs: one JSON line each, secrets redacted, line breaks neutralised, no message of an unexpected error."""

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator, Sequence

import httpx2
import pytest
import structlog
from starlette.types import Receive, Scope, Send

from gateway_proxy.domain.audit import AuditEvent
from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.edge.request_boundary import RequestBoundary
from gateway_proxy.telemetry.audit import AuditTrail
from gateway_proxy.telemetry.logs import configure_logs, get_log
from gateway_proxy.telemetry.metrics import Metrics
from tests.support.clock import FakeClock

TOKEN = "gw_at_" + "A1b2" * 10 + "xyz"


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    yield
    logging.raiseExceptions = raises
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


def test_a_line_that_a_full_disk_refuses_shows_nothing_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """security.md F9, F20: the logging library would tell what it could not write, unredacted, once there is room."""

    class AlmostFull(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith("{"):
                raise OSError(28, "No space left on device")
            return super().write(text)

    disk = AlmostFull()
    monkeypatch.setattr(sys, "stderr", disk)
    configure_logs("info")
    logging.getLogger("uvicorn.error").warning("GET /cb?token=%s", TOKEN)
    assert disk.getvalue() == ""


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


async def test_what_failed_is_found_under_the_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    """House, Logging: the answer to a crash names the id that its lines have, those of libraries included."""

    async def crash(scope: Scope, receive: Receive, send: Send) -> None:
        logging.getLogger("some.library").warning("odd")
        raise ArithmeticError

    configure_logs("info")
    get_log("test").info("outside")
    transport = httpx2.ASGITransport(app=RequestBoundary(crash, Metrics()))
    async with httpx2.AsyncClient(transport=transport, base_url="https://gw.example") as http:
        answers = [await http.get("/account") for _ in range(2)]

    outside, *lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    first, second = (answer.headers["x-request-id"] for answer in answers)
    assert [line["event"] for line in lines] == ["odd", "request_failed"] * 2
    assert [line["request_id"] for line in lines] == [first, first, second, second]
    assert first in answers[0].text
    assert "request_id" not in outside


async def test_an_audit_event_that_is_written_nowhere_else_keeps_its_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """House, Logging: the line has what the row would have had, whoever writes it."""

    async def fail(_: Sequence[AuditEvent]) -> None:
        raise StorageUnavailable

    configure_logs("error")
    trail = AuditTrail(fail, FakeClock())

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        trail.record("tool.called")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    transport = httpx2.ASGITransport(app=RequestBoundary(application, Metrics()))
    async with httpx2.AsyncClient(transport=transport, base_url="https://gw.example") as http:
        answer = await asyncio.create_task(http.get("/mcp"))
    await trail.flush(last=True)

    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["request_id"]) == ("audit_event_unwritten", answer.headers["x-request-id"])
