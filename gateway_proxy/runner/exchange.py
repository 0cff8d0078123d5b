"""One POST or GET on a child: a message in, the child's answer out as JSON or as an event stream (MCP 2025-11-25,
Streamable HTTP). Which child, and who may ask, was decided before.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final

from gateway_proxy.runner import envelope as jsonrpc
from gateway_proxy.runner.call import Call
from gateway_proxy.runner.envelope import Envelope, NotAnEnvelope
from gateway_proxy.runner.errors import MessageInvalid, WireClosed
from gateway_proxy.runner.instance import Instance
from gateway_proxy.runner.outbox import Outbox
from gateway_proxy.runner.responses import (
    Receive,
    Send,
    send_empty,
    send_events,
    send_heartbeat,
    send_raw_json,
    start_events,
)

HEARTBEAT_SECONDS: Final = 15.0
SEND_SECONDS: Final = 30.0
_BUFFERED_BYTES: Final = 32 * 1024
_INVALID_PARAMS: Final = -32602
_SERVER_ERROR: Final = -32000


async def post(instance: Instance, message: Envelope, receive: Receive, send: Send) -> None:
    """Hand one message to the child and answer as its kind asks: a request with its outcome, all else with 202.

    Raises:
        MessageInvalid: It is no JSON-RPC message.
        StartFailed: The child did not answer `initialize`.
        TooManyStreams: Too many calls are in flight.
    """
    instance.touch()
    try:
        kind = jsonrpc.kind_of(message)
        if kind == "request":
            await _request(instance, message, receive, send)
            return
        if kind == "notification":
            instance.notify(message)
        else:
            instance.conversation.answer(message)
    except NotAnEnvelope as error:
        raise MessageInvalid from error
    except (WireClosed, UnicodeEncodeError):
        pass  # nobody waits for an answer to these; a child that does not listen fails the calls
    finally:
        instance.touch()
    await send_empty(send, 202)


async def listen(instance: Instance, receive: Receive, send: Send) -> None:
    """Serve a GET stream until its reader or the child is gone.

    Raises:
        TooManyStreams: The child has as many as it may.
    """
    stream = instance.conversation.open_stream()
    watcher = _watch(stream, receive)
    try:
        await start_events(send, _session(instance))
        await send_heartbeat(send)
        await _pump(stream, send)
    finally:
        watcher.cancel()
        instance.conversation.close_stream(stream)
        instance.touch()


async def _request(instance: Instance, message: Envelope, receive: Receive, send: Send) -> None:
    raw_id = bytes(message["id"])
    try:
        if jsonrpc.method_of(message) == "initialize":
            await send_raw_json(send, 200, await instance.initialize(message), _session(instance))
            return
        call = instance.conversation.open_call(message)
    except WireClosed as error:
        await send_raw_json(send, 200, jsonrpc.error_message(raw_id, _SERVER_ERROR, str(error)))
        return
    except UnicodeEncodeError:
        refusal = jsonrpc.error_message(raw_id, _INVALID_PARAMS, "the backend's encoding cannot say this")
        await send_raw_json(send, 200, refusal)
        return
    await _follow(instance, call, receive, send)


async def _follow(instance: Instance, call: Call, receive: Receive, send: Send) -> None:
    """Send what comes for the call until its response; a client that closes the connection ends the call."""
    watcher = _watch(call.outbox, receive)
    try:
        batch = await call.outbox.take()
        if batch is None or batch.dropped:
            return
        if batch.last and len(batch.messages) == 1:
            await _send_response(send, batch.messages[0])
            return
        await start_events(send)
        if await _send_in_time(send_events(send, batch.messages, last=batch.last)) and not batch.last:
            await _pump(call.outbox, send)
    finally:
        watcher.cancel()
        instance.conversation.end_call(call)


async def _send_response(send: Send, message: bytes) -> None:
    """A small response never waits for its reader: it fits into the connection's buffer."""
    sending = send_raw_json(send, 200, message)
    if len(message) < _BUFFERED_BYTES:
        await sending
    else:
        await _send_in_time(sending)


async def _pump(outbox: Outbox, send: Send) -> None:
    """Write events until the last one. A reader that takes nothing for 30 s is dropped."""
    while True:
        batch = await outbox.take(HEARTBEAT_SECONDS)
        if batch is None:
            sent = await _send_in_time(send_heartbeat(send))
        else:
            sent = await _send_in_time(send_events(send, batch.messages, last=batch.last))
        if not sent or (batch is not None and batch.last):
            return


async def _send_in_time(sending: Awaitable[None]) -> bool:
    """False when the reader took nothing for 30 s; it is given up then, and its connection with it."""
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await sending
    except TimeoutError:
        return False
    return True


def _watch(outbox: Outbox, receive: Receive) -> "asyncio.Task[None]":
    """Drop the reader as soon as its connection ends."""

    async def until_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        outbox.drop()

    return asyncio.create_task(until_gone())


def _session(instance: Instance) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"mcp-session-id", instance.id.encode()),)
