"""The server's side of `domain.whole_answer`: head and body go out by one check and one write.

The server checks every header by itself and writes the head, then the body; that is most of what answering costs.
"""

from collections.abc import Coroutine
from typing import Any, Final

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway_proxy.cli.one_write import JOINED_BYTES
from gateway_proxy.domain.whole_answer import BODY

_NUL: Final = 0  # as a number: looking for bytes in bytes makes an exception first


class AnsweringCycle(RequestResponseCycle):
    """A request and its answer, as the server has it, whose head may bring the body."""

    def send(self, message: Message) -> Coroutine[Any, Any, None]:  # type: ignore[override]
        """As the server's own for everything else."""
        body = message.get(BODY)
        return super().send(message) if body is None else self._send_whole(message, body)  # type: ignore[arg-type]

    async def _send_whole(self, message: Message, body: bytes) -> None:
        if not self._is_plain():
            await super().send(message)  # type: ignore[arg-type]
            await super().send({"type": "http.response.body", "body": body, "more_body": False})
            return
        headers = [*self.default_headers, *message["headers"]]
        lines = len(headers) + 2
        head = b"%b%b\r\n" % (STATUS_LINE[message["status"]], b"".join([b"%b: %b\r\n" % pair for pair in headers]))
        if head.count(b"\n") != lines or head.count(b"\r") != lines or _NUL in head:
            raise RuntimeError("a header of the answer breaks out of its line")
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        if len(body) <= JOINED_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        self.message_event.set()
        self.on_response()

    def _is_plain(self) -> bool:
        """Whether nothing is special: the client is there and reads, and the connection goes on behind the answer."""
        return (
            self.keep_alive
            and not self.disconnected
            and not self.response_started
            and not self.flow.write_paused
            and self.scope["method"] != "HEAD"
        )
