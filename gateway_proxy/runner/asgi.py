"""The runner's HTTP surface, bare ASGI: authenticate, route, answer. Every request carries the runner's key.

    PUT    /children/{key}       have a child, started if need be
    POST   /children/{key}/mcp   one JSON-RPC message
    GET    /children/{key}/mcp   what the child says outside of calls
    DELETE /children/{key}       stop it
    GET    /children/{key}       its status, with the last lines of its stderr
    GET    /children/{key}/fault why it ended or did not start, with what it said last
    GET    /children             status of all
    DELETE /caches               a definition is gone: forget what its children downloaded
    GET    /health               alive

The wire words of every refusal are in the table below; nothing of a child's stderr goes into one.
"""

import hmac
import math
import re
from typing import Final

from gateway_proxy.runner import exchange
from gateway_proxy.runner.children import Children
from gateway_proxy.runner.envelope import NotAnEnvelope, kind_of, method_of, read_envelope
from gateway_proxy.runner.errors import (
    BreakerOpen,
    CommandNotAllowed,
    MessageInvalid,
    RunnerError,
    RunnerFull,
    SessionGone,
    SpecInvalid,
    StartFailed,
    TenantLimitReached,
    TooManyStreams,
    WireClosed,
)
from gateway_proxy.runner.launch import read_owner, read_spec
from gateway_proxy.runner.responses import (
    BodyTooLarge,
    ClientGone,
    Headers,
    Receive,
    Scope,
    Send,
    read_body,
    send_empty,
    send_json,
)

SPEC_BYTES: Final = 1024 * 1024
MESSAGE_BYTES: Final = 4 * 1024 * 1024 + 64 * 1024
WIRE: Final[dict[type[RunnerError], tuple[int, str]]] = {
    SpecInvalid: (400, "bad_spec"),
    MessageInvalid: (400, "bad_message"),
    CommandNotAllowed: (403, "command_not_allowed"),
    SessionGone: (404, "session_gone"),
    TenantLimitReached: (429, "tenant_limit"),
    StartFailed: (502, "start_failed"),
    WireClosed: (502, "start_failed"),
    BreakerOpen: (503, "breaker_open"),
    RunnerFull: (503, "runner_full"),
    TooManyStreams: (503, "busy"),
}
_CHILD: Final = re.compile(r"/children/([0-9a-f]{64})(/mcp|/fault)?\Z")


class RunnerApp:
    """The ASGI application of one runner."""

    def __init__(self, children: Children, *, key: str) -> None:
        self._children = children
        self._authorization = b"Bearer " + key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if not self._is_authorized(scope):
            await send_json(send, 401, {"error": "unauthorized", "detail": "a bearer key is needed"}, _CHALLENGE)
            return
        try:
            await self._route(scope, receive, send)
        except BodyTooLarge:
            await send_json(send, 413, {"error": "too_large", "detail": "the body is over the limit"}, _CLOSE)
        except ClientGone:
            return
        except RunnerError as error:
            await _refuse(send, error)

    def _is_authorized(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._authorization)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        found = _CHILD.match(path)
        if found and found[2] == "/fault":
            fault = self._children.find_fault(found[1])
            await send_json(send, 200, {"reason": fault.reason, "stderr": fault.lines})
        elif found and found[2]:
            await self._child_mcp(method, found[1], scope, receive, send)
        elif found and method == "PUT":
            instance = await self._children.ensure(found[1], read_spec(await read_body(receive, limit=SPEC_BYTES)))
            await send_json(send, 200, {"path": f"/children/{found[1]}/mcp", "instance": instance.id})
        elif found and method == "DELETE":
            ended = await self._children.end(found[1])
            await send_json(send, 200 if ended else 404, {"ended": ended})
        elif found and method == "GET":
            await send_json(send, 200, self._children.describe_one(found[1]))
        elif path == "/children" and method == "GET":
            await send_json(send, 200, {"children": self._children.describe()})
        elif path == "/caches" and method == "DELETE":
            owner = read_owner(await read_body(receive, limit=SPEC_BYTES))
            await self._children.forget_cache(owner.tenant, owner.label)
            await send_json(send, 200, {"forgotten": True})
        elif path == "/health" and method == "GET":
            await send_json(send, 200, {"status": "ok"})
        else:
            await send_json(send, 404, {"error": "not_found", "detail": "no such resource"})

    async def _child_mcp(self, method: str, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        session = _header(scope, b"mcp-session-id")
        if method == "POST":
            try:
                message = read_envelope(await read_body(receive, limit=MESSAGE_BYTES))
                opens = kind_of(message) == "request" and method_of(message) == "initialize"
            except NotAnEnvelope as error:
                raise MessageInvalid from error
            instance = self._children.find(key, None if opens else session)
            await exchange.post(instance, message, receive, send)
        elif method == "GET":
            await exchange.listen(self._children.find(key, session), receive, send)
        elif method == "DELETE":
            await send_empty(send, 405)  # a child is shared: only DELETE /children/{key} ends it
        else:
            await send_empty(send, 405)


_CHALLENGE: Final = ((b"www-authenticate", b"Bearer"), (b"connection", b"close"))
_CLOSE: Final = ((b"connection", b"close"),)


async def _refuse(send: Send, error: RunnerError) -> None:
    status, code = WIRE[type(error)]
    headers: Headers = ()
    if isinstance(error, BreakerOpen):
        headers = ((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))),)
    elif status == 503:
        headers = ((b"retry-after", b"5"),)
    await send_json(send, status, {"error": code, "detail": str(error)}, headers)


def _header(scope: Scope, name: bytes) -> str:
    """A request header's value; empty when it is missing, which no session id is."""
    for given, value in scope["headers"]:
        if given == name:
            return str(value, "latin-1")
    return ""
