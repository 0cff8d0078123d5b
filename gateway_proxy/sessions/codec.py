"""How records are written into Redis: one version byte, then MessagePack, so that a later gateway can change its mind.

Unknown fields are ignored, so an older worker reads what a newer one wrote as long as the version byte stays.
"""

from typing import Final

import msgspec

from gateway_proxy.domain.session import SessionRecord, UpstreamSessionRecord

VERSION: Final = b"\x01"

_encoder: Final = msgspec.msgpack.Encoder()
_sessions: Final = msgspec.msgpack.Decoder(SessionRecord)
_upstream: Final = msgspec.msgpack.Decoder(UpstreamSessionRecord)


def encode_record(record: SessionRecord | UpstreamSessionRecord) -> bytes:
    """The value to store."""
    return VERSION + _encoder.encode(record)


def decode_session(value: object) -> SessionRecord | None:
    """The session; None for nothing or another version: it is unknown then and the client opens a new one."""
    return _sessions.decode(value[1:]) if isinstance(value, bytes) and value[:1] == VERSION else None


def decode_upstream(value: object) -> UpstreamSessionRecord | None:
    """The upstream session; None for nothing or a value of another version: then it is opened again."""
    return _upstream.decode(value[1:]) if isinstance(value, bytes) and value[:1] == VERSION else None
