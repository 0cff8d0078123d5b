"""Log messages by severity (RFC 5424): which of them a caller has asked for, and what a session has been told."""

from typing import Final

import msgspec

from gateway_proxy.backends.caller import Caller
from gateway_proxy.backends.splice import LOG_LEVEL, UpstreamRequest

LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
EVERYTHING: Final = 0
NOTHING: Final = len(LEVELS)
_RANKS: Final = {level: rank for rank, level in enumerate(LEVELS)}


class _Message(msgspec.Struct):
    level: str = "emergency"


_message: Final = msgspec.json.Decoder(_Message)


def asked_level(caller: Caller, request: UpstreamRequest) -> str | None:
    """The level that the caller has set: for its session, or in 2026-07-28 for this very request."""
    if not caller.modern:
        return caller.log_level
    raw = None if request.meta is None else request.meta.get(LOG_LEVEL)
    try:
        return None if raw is None else msgspec.json.decode(raw, type=str)
    except msgspec.MsgspecError:
        return None


def floor_of(caller: Caller, level: str | None) -> int:
    """The rank below which messages do not reach the caller.

    Without a level a legacy server may send what it likes (2025-11-25, Logging); in 2026-07-28 nothing is sent then.
    """
    if level is None:
        return NOTHING if caller.modern else EVERYTHING
    return _RANKS.get(level, NOTHING if caller.modern else EVERYTHING)


def rank_of(params: msgspec.Raw) -> int:
    """How severe a log message is; one that does not say is taken for the most severe, so that it is not lost."""
    try:
        return _RANKS.get(_message.decode(params).level, NOTHING - 1)
    except msgspec.MsgspecError:
        return NOTHING - 1
