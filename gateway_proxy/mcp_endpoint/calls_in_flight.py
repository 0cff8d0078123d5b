"""The calls that this worker is serving, so that a session's `notifications/cancelled` or DELETE reaches them.

Only calls of a session are known here: without one, two programs of a user that number their requests alike cannot be
told apart. What is not here may be at another worker; nobody knows at which, so all are told.
"""

import contextlib
from typing import Final

import msgspec

from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.domain.session import SessionRecord
from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.attendant import Stop
from gateway_proxy.mcp_endpoint.exchange import Exchange
from gateway_proxy.sessions.mailbox import Letter, Mailbox

CANCEL: Final = "cancel"

_id_decoder: Final[msgspec.json.Decoder[int | str]] = msgspec.json.Decoder(int | str)


class CallsInFlight:
    """Exchanges by session and request id."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._by_session: dict[str, dict[int | str, Exchange]] = {}
        self._mailbox = mailbox
        mailbox.on(CANCEL, self._take_cancel)

    def __len__(self) -> int:
        return sum(map(len, self._by_session.values()))

    def add(self, session_id: str, request_id: bytes, exchange: Exchange) -> int | str:
        """Know a call from now on; what to `remove` it by. A client that reuses an id loses the way to the earlier."""
        key = _key_of(request_id)
        self._by_session.setdefault(session_id, {})[key] = exchange
        return key

    def remove(self, session_id: str, key: int | str, exchange: Exchange) -> None:
        """The call is over."""
        calls = self._by_session.get(session_id)
        if calls is not None and calls.get(key) is exchange:
            del calls[key]
            if not calls:
                del self._by_session[session_id]

    def cancel(self, session_id: str, request_id: int | str) -> bool:
        """Stop one call; whether it was one of ours."""
        exchange = self._by_session.get(session_id, {}).get(request_id)
        if exchange is None:
            return False
        exchange.stop(Stop.CANCELLED)
        return True

    async def cancel_anywhere(self, session: SessionRecord, request_id: int | str) -> None:
        """Stop one call of a session, whichever worker serves it. Best effort, as the protocol has it."""
        if not self.cancel(session.id, request_id):
            letter = Letter(CANCEL, session.tenant_id, session.user_id, session.id, "", wire.to_json(request_id))
            with contextlib.suppress(StorageUnavailable):
                await self._mailbox.broadcast(letter)

    def end_session(self, session_id: str) -> None:
        """Stop every call of a session."""
        for exchange in list(self._by_session.get(session_id, {}).values()):
            exchange.stop(Stop.SESSION_ENDED)

    async def _take_cancel(self, letter: Letter) -> None:
        if letter.session_id is not None:
            self.cancel(letter.session_id, _key_of(letter.body))


def _key_of(request_id: bytes) -> int | str:
    """An id by value, however it was written; `1` and `"1"` stay two ids."""
    return _id_decoder.decode(request_id)
