"""Logs: an event name and fields, one line each; JSON, but for reading on a terminal.

Bodies, tool arguments, tokens, codes and passwords never. Redaction is the second wall, not the first: whatever still
carries one of our secret prefixes, or stands under a secret's name, is replaced before it is written, also for lines
of libraries.
"""

import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any, Final

import structlog

from gateway_proxy.telemetry.request_context import current_request_id

SECRET_NAMES: Final = re.compile(
    r"(?i)^(authorization|cookie|set-cookie|code|token|.*_token|secret|.*_secret|password|state|.*verifier|api_?key|x-api-key)$"
)
SECRET_VALUES: Final = re.compile(r"gw_(?:at|rt|ac|cs|pat)_[A-Za-z0-9_-]+")
CONTROL: Final = dict.fromkeys((*range(32), 127), " ")


def _add_request_id(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say which request the line belongs to, unless it says so itself."""
    request_id = current_request_id()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event


def _redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if SECRET_NAMES.match(name):
            event[name] = "[redacted]"
        elif isinstance(value, str):
            event[name] = SECRET_VALUES.sub("[redacted]", value).translate(CONTROL)
    return event


def _drop_traceback_values(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep where an unexpected error came from, never its message: messages of libraries can quote their input."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    elif isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if not info or info[0] is None:
        return event
    frames = []
    trace = info[2]
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename.rpartition('site-packages/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    event["error"] = info[0].__name__
    event["trace"] = frames[-12:]
    return event


SHARED_PROCESSORS: Final[list[Any]] = [
    _add_request_id,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _drop_traceback_values,
    _redact,
]


def configure_logs(level: str) -> None:
    """Send our events and the lines of every library to stderr, at `level` and above. Call once, at start.

    As JSON for whatever collects them, and for a person's eyes when stderr is a terminal.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *SHARED_PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *SHARED_PROCESSORS],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(),
            ],
        )
    )
    logging.raiseExceptions = (
        False  # of a line that cannot be written the library would print the arguments as they are
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx2", "httpcore2", "authlib", "asyncio", "aiosqlite", "mcp", "uvicorn.access", "alembic"):
        logging.getLogger(noisy).setLevel("WARNING")


def _renderer() -> structlog.typing.Processor:
    return structlog.dev.ConsoleRenderer(pad_event_to=0) if sys.stderr.isatty() else structlog.processors.JSONRenderer()


def debug_switch(name: str) -> Callable[[], bool]:
    """Whether debug lines of this logger are written: `if is_debugging(): log.debug(…)`.

    To have a line filtered costs five microseconds, to ask first a sixth of one, and its fields are not even built.
    """
    return partial(logging.getLogger(name).isEnabledFor, logging.DEBUG)


def get_log(name: str) -> structlog.stdlib.BoundLogger:
    """A logger: `log.info("backend_opened", backend="calc", ms=12)`. The event name comes first, then fields."""
    log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return log
