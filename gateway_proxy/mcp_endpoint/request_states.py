"""`requestState` as we hand it out: sealed for one user of one tenant, so that a client can keep it and not change it.

What is inside is either the state of a backend of 2026-07-28, or where a parked call waits (MCP 2026-07-28, Multi
Round-Trip Requests: the state comes back through the client and is not to be trusted otherwise).
"""

import base64
import binascii
import hashlib
from typing import Final, Protocol

import msgspec

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import SealingError
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.mcp_endpoint.errors import Refusal
from gateway_proxy.mcp_endpoint.parameters import invalid_parameters

LIFETIME: Final = 86_400
MAX_CHARACTERS: Final = 1024 * 1024
_NOT_OF_THE_REQUEST: Final = ("_meta", "inputResponses", "requestState")

_fields: Final = msgspec.json.Decoder(dict[str, object])
_raw_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_sorted: Final = msgspec.json.Encoder(order="sorted")


class Sealer(Protocol):
    """What is needed of `sealing.keyring.Keyring`."""

    def seal(self, plaintext: bytes, *, context: str) -> bytes:
        """Encrypt and authenticate for one context."""

    def open(self, sealed: bytes, *, context: str) -> bytes:
        """Undo it; raises SealingErrors."""


class State(msgspec.Struct, array_like=True, frozen=True):
    """`target` is the method and name (or URI) that it was given out for; `issued_at` in seconds since 1970.

    Of a backend: `backend_id` and `inner`, its own state as raw JSON. Of a parked call: the worker, the call's number
    there, which changes with every question, and the digest of the request's parameters.
    """

    target: str
    issued_at: int = 0
    backend_id: str = ""
    inner: bytes = b""
    worker_id: str = ""
    call: int = 0
    digest: bytes = b""


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(State)


class RequestStates:
    """Seals and opens states."""

    def __init__(self, sealer: Sealer, clock: Clock) -> None:
        self._sealer = sealer
        self._clock = clock

    def seal(self, ctx: TenantContext, state: State) -> str:
        """The text for the client."""
        dated = msgspec.structs.replace(state, issued_at=int(self._clock.now().timestamp()))
        sealed = self._sealer.seal(_encoder.encode(dated), context=_context(ctx))
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")

    def open(self, ctx: TenantContext, target: str, raw: bytes) -> State:
        """What the client brings back; `raw` is the JSON value.

        Raises:
            Refusal: -32602: altered, somebody else's, of another request, or too old. Which of them is not said.
        """
        try:
            text = msgspec.json.decode(raw, type=str)
            if len(text) > MAX_CHARACTERS:
                raise _unknown()
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
            state = _decoder.decode(self._sealer.open(sealed, context=_context(ctx)))
        except (msgspec.MsgspecError, binascii.Error, ValueError, SealingError):
            raise _unknown() from None
        age = self._clock.now().timestamp() - state.issued_at
        if state.target != target or age > LIFETIME:
            raise _unknown()
        return state


def digest_of(params: bytes) -> bytes:
    """What a request asks for, whatever the order and spacing of its members.

    Where a number is out of Python's range, the spacing inside of the members counts.
    """
    fields: dict[str, object] | dict[str, msgspec.Raw]
    try:
        fields = _fields.decode(params)
    except msgspec.MsgspecError:
        fields = _raw_fields.decode(params)
    for name in _NOT_OF_THE_REQUEST:
        fields.pop(name, None)
    return hashlib.sha256(_sorted.encode(fields)).digest()[:16]


def _context(ctx: TenantContext) -> str:
    return f"{ctx.tenant.id}|request-state|{ctx.principal.user_id}"


def _unknown() -> Refusal:
    return invalid_parameters("params.requestState: not one that was given out for this request")
