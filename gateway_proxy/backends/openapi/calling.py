"""One call of one operation: the request goes out, the reply is read within the limits, and its result comes back."""

import asyncio

import msgspec

from gateway_proxy.backends.deadline import Deadline
from gateway_proxy.backends.envelope import Fields, read_fields
from gateway_proxy.backends.openapi.requests import ArgumentFault, HttpCall, write_call
from gateway_proxy.backends.openapi.results import (
    BODY_LIMIT,
    HEAD_HEADERS,
    TOLD_HEADERS,
    Answer,
    read_head,
    write_error,
    write_result,
)
from gateway_proxy.backends.openapi.site import Place, Site
from gateway_proxy.backends.splice import UpstreamRequest
from gateway_proxy.backends.upstream_session import Endpoint
from gateway_proxy.domain.errors import BackendMisbehaved, BackendRefusedCredentials, BackendTimeout
from gateway_proxy.egress.exchange import Reply

_ACCEPT = ("accept", "application/json, */*;q=0.8")
_BODILESS = frozenset({204, 205})


async def call_operation(site: Site, place: Place, arguments: Fields, backend: str, deadline: Deadline) -> bytes:
    """The result of the call as raw JSON. Arguments that do not fit give a result too: the model can mend them.

    Raises:
        EgressError: The service could not be reached, or broke off.
        BackendTimeout, BackendMisbehaved, BackendRefusedCredentials, ResultTooLarge: As said.
    """
    try:
        call = write_call(place.operation, place.prefix, arguments, site.cookies)
    except ArgumentFault as fault:
        return write_error(str(fault))
    try:
        async with asyncio.timeout(deadline.left(backend)):
            answer = await _send(site.endpoint, call, backend, deadline)
    except TimeoutError:
        raise BackendTimeout(backend, deadline.seconds) from None
    return write_result(place.operation, backend, answer)


def read_params(request: UpstreamRequest) -> tuple[str, Fields]:
    """The name and the arguments of a tools/call.

    Raises:
        ValueError: They are not a string and a JSON object.
    """
    try:
        name = msgspec.json.decode(request.fields["name"], type=str)
    except (KeyError, msgspec.MsgspecError):
        raise ValueError("name") from None
    arguments = request.fields.get("arguments")
    return name, read_fields(arguments) if arguments is not None and bytes(arguments) != b"null" else {}


async def _send(endpoint: Endpoint, call: HttpCall, backend: str, deadline: Deadline) -> Answer:
    headers = endpoint.headers.plus(_ACCEPT, *call.headers)
    left = deadline.left(backend)
    reply = await endpoint.http.send(call.method, call.target, headers, call.body, timeout=left)
    try:
        _check(reply, backend)
        if call.method == "HEAD":
            return read_head(reply.status, None, b"", _lines(reply, HEAD_HEADERS))
        body = b"" if reply.status in _BODILESS else await reply.read(limit=BODY_LIMIT, timeout=left)
        return read_head(reply.status, reply.header("content-type"), body, _lines(reply, TOLD_HEADERS))
    finally:
        await reply.close()


def _lines(reply: Reply, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}: {value}" for name in names if (value := reply.header(name)) is not None)


def _check(reply: Reply, backend: str) -> None:
    """Every answer becomes a result but a refusal of our credentials, a redirect, and what we cannot read."""
    if reply.status in (401, 403):
        raise BackendRefusedCredentials(backend)
    if 300 <= reply.status < 400:
        raise BackendMisbehaved(backend, "it answered with a redirect, and redirects are not followed")
    if reply.header("content-encoding") not in (None, "identity"):
        raise BackendMisbehaved(backend, "its answer is compressed although we asked for plain")
