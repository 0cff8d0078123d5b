"""A tool call's messages on their way to the client: one JSON answer when nothing came before it, else a stream.

Both legs come through here. What a message means, and which HTTP status an error has, is decided by the leg.
"""

from collections.abc import Awaitable, Callable, Iterable

from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.errors import Refusal
from gateway_proxy.mcp_endpoint.exchange import Exchange
from gateway_proxy.mcp_endpoint.headers import Acceptable
from gateway_proxy.mcp_endpoint.questions import CallQuestions
from gateway_proxy.router.messages import (
    OUTCOMES,
    Failure,
    Messages,
    Notification,
    Pause,
    RelayMessage,
    Result,
    ServerRequest,
    Withdrawal,
)

Park = Callable[[Messages, ServerRequest], Result]
Answer = tuple[int, bytes]
"""HTTP status (used only if nothing was sent before) and the complete JSON-RPC response."""


async def relay_call(
    exchange: Exchange,
    accept: Acceptable,
    messages: Messages,
    answer: Callable[[Result | Failure], Answer],
    questions: CallQuestions | None = None,
    park: Park | None = None,
) -> None:
    """Write what a call yields, as it comes. Closing `messages`, also when the client leaves, cancels upstream.

    Notifications for a client that takes no streams are dropped; it has said so. Server requests go out as `questions`;
    without them they are refused: such callers declare no capability, so none should come. With `park` the call is
    handed over instead, to wait, and what that gives is the answer.

    Raises:
        RelayError: The router's, before or after the first notification; see `finish`.
    """
    exchange.takes_sse = accept.sse
    final: Result | Failure | None = None
    is_parked = False
    try:
        async for message in messages:
            if isinstance(message, OUTCOMES):
                final = message
                break
            if park is not None and isinstance(message, ServerRequest):
                final, is_parked = park(messages, message), True
                break
            if isinstance(message, Pause):
                await _pause(exchange)
                continue
            event = await _event_of(message, questions)
            if event is not None and accept.sse:
                await exchange.open_stream()
                await exchange.write_event(event)
    finally:
        if not is_parked:
            await messages.aclose()
    if final is None:
        raise Refusal(200, wire.INTERNAL_ERROR, "The call ended without a result")
    await finish(exchange, accept, answer(final))


async def _pause(exchange: Exchange) -> None:
    """The backend lets us go for a while, and we do the same with a client that can come back (SEP-1699)."""
    if exchange.keeper is not None and exchange.takes_sse:
        await exchange.open_stream()
        exchange.let_go()


async def _event_of(message: RelayMessage, questions: CallQuestions | None) -> bytes | None:
    """What the client gets to see of a message that comes before the result."""
    if isinstance(message, Notification):
        return message.raw
    if isinstance(message, ServerRequest):
        if questions is not None:
            return questions.ask(message)
        await message.refuse(wire.METHOD_NOT_FOUND, "the client cannot be asked")
    elif isinstance(message, Withdrawal) and questions is not None:
        return questions.withdraw(message)
    return None


def finish(
    exchange: Exchange, accept: Acceptable, answer: Answer, headers: Iterable[tuple[bytes, bytes]] = ()
) -> Awaitable[None]:
    """Write the response that ends an exchange: into the stream if there is one, else in the shape the client takes."""
    status, body = answer
    if exchange.is_streaming:
        return exchange.write_last_event(body)
    if (accept.json and not accept.prefers_sse) or status != 200:
        return exchange.answer_json(body, status, headers)
    return _answer_in_stream(exchange, body, headers)


async def _answer_in_stream(exchange: Exchange, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    await exchange.open_stream(headers)
    await exchange.write_last_event(body)
