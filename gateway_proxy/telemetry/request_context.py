"""What every log line and audit row of one request shares: its id. Bound by the outermost middleware."""

from contextvars import ContextVar
from typing import Final

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)


def current_request_id() -> str | None:
    """The id of the request being served, or None outside of one."""
    return REQUEST_ID.get()
