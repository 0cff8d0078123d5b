"""Server-sent events as bytes (HTML Living Standard §9.2.6). Framing only."""

from typing import Final

HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
"""Sent with every stream: proxies are asked neither to buffer nor to change it."""

HEARTBEAT: Final = b": ping\n\n"
_LF: Final = 0x0A  # as numbers: looking for bytes in bytes makes an exception first, and costs ten times as much
_CR: Final = 0x0D


def event(message: bytes, event_id: bytes | None = None) -> bytes:
    """One JSON-RPC message as an event. Line breaks between JSON tokens become lines of the same event."""
    if _LF in message or _CR in message:
        message = b"\ndata: ".join(message.splitlines())
    if event_id is None:
        return b"event: message\ndata: %b\n\n" % message
    return b"event: message\nid: %b\ndata: %b\n\n" % (event_id, message)


def retry(milliseconds: int) -> bytes:
    """Tell the client when to come back (sent before we hang up on purpose)."""
    return b"retry: %d\n\n" % milliseconds


def priming(event_id: bytes, milliseconds: int) -> bytes:
    """An event that says nothing but where to resume, and when (MCP 2025-11-25, Sending Messages 6; SEP-1699)."""
    return b"id: %b\nretry: %d\ndata: \n\n" % (event_id, milliseconds)
