"""Opening a session: `initialize` for the legacy era, `server/discover` where a backend speaks only 2026-07-28."""

import asyncio
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from gateway_proxy.backends.caller import Declared
from gateway_proxy.backends.envelope import raw_bytes, read_envelopes, read_failure, write_notification, write_request
from gateway_proxy.backends.faults import relay_error
from gateway_proxy.backends.messages import Failure
from gateway_proxy.backends.replies import SessionExpired, check_reply
from gateway_proxy.backends.session_key import SessionKey
from gateway_proxy.backends.splice import MODERN_VERSION
from gateway_proxy.backends.sse import EventTooLarge, SseParser
from gateway_proxy.backends.upstream_session import Aside, Endpoint, Minter, UpstreamSession, build_session
from gateway_proxy.domain.errors import BackendMisbehaved, BackendUnavailable, EgressError
from gateway_proxy.domain.session import UpstreamSessionRecord
from gateway_proxy.egress.exchange import Reply
from gateway_proxy.egress.same_origin import send_within_origin

HANDSHAKE_TIMEOUT: Final = 30.0
PROBE_TIMEOUT: Final = 5.0
CHILD_PROBE_TIMEOUT: Final = 20.0
"""A child is started for the question, and may have to be fetched by `npx` or `uvx` before it can hear it."""

RESULT_LIMIT: Final = 1024 * 1024
OFFERED: Final = "2025-11-25"
LEGACY_VERSIONS: Final = frozenset({"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"})
MAX_SESSION_ID: Final = 1024
_MODERN_HINTS: Final = frozenset({-32022, -32020, -32021, -32601})


Kind = TypeVar("Kind", bound=msgspec.Struct)


class NotStreamable(Exception):
    """404 or 405 to `initialize`: the URL may be an HTTP+SSE server (2025-11-25, Backwards Compatibility)."""


class NotModern(Exception):
    """The backend does not speak 2026-07-28; `is_sure` when it said so. Stays inside this room."""

    def __init__(self, *, is_sure: bool) -> None:
        self.is_sure = is_sure


class _Initialized(msgspec.Struct):
    protocolVersion: str  # noqa: N815 - the name on the wire


class _Discovered(msgspec.Struct):
    supportedVersions: list[str]  # noqa: N815 - the name on the wire


@dataclass(slots=True)
class Handshake:
    """Opens a session with one backend at one endpoint.

    It takes at most `seconds`. `moved_to` is the path to which the backend redirects on its own origin; the session
    stays there.
    """

    backend: str
    endpoint: Endpoint
    key: SessionKey
    declared: Declared
    client_info: bytes
    minter: Minter
    aside: Aside
    seconds: float = HANDSHAKE_TIMEOUT
    moved_to: str | None = None

    async def open(self) -> UpstreamSession:
        """The legacy handshake, else the modern one for a backend that says it needs it; only that if `key` wants it.

        Raises:
            NotModern: See there.
            NotStreamable: See there.
            RelayError: The backend cannot be reached, refuses, or does not keep to the protocol.
        """
        if self.key.era:
            return await self._open_modern()
        try:
            outcome = await self._initialize()
            if isinstance(outcome, UpstreamSession):
                await self._confirm(outcome)
                return outcome
            if outcome.code in _MODERN_HINTS:
                modern = await self._discover()
                if modern is not None:
                    return modern
        except EgressError as error:
            raise relay_error(self.backend, error, seconds=self.seconds) from None
        raise BackendUnavailable(self.backend, None, f"it refused the handshake with error {outcome.code}")

    async def _open_modern(self) -> UpstreamSession:
        """`server/discover` and nothing else. An older server may answer anything to it, or not at all."""
        seconds = CHILD_PROBE_TIMEOUT if self.endpoint.ends_by_closing else PROBE_TIMEOUT
        try:
            async with asyncio.timeout(seconds):
                session = await self._discover()
        except (BackendMisbehaved, BackendUnavailable, EgressError, SessionExpired, TimeoutError):
            raise NotModern(is_sure=False) from None
        if session is None:
            raise NotModern(is_sure=True)
        return session

    async def _initialize(self) -> UpstreamSession | Failure:
        request_id = self.minter.next_id()
        params = b'{"protocolVersion":"%b","capabilities":%b,"clientInfo":%b}' % (
            OFFERED.encode(),
            self.declared.json,
            self.client_info,
        )
        reply = await self._post(write_request(request_id, "initialize", params), [])
        if reply.status in (404, 405):
            return await self._read_refusal(reply)
        result = await self._read_response(reply, request_id)
        if isinstance(result, Failure):
            return result
        version = self._read(result, _Initialized).protocolVersion
        if version not in LEGACY_VERSIONS:
            raise BackendMisbehaved(self.backend, "it chose a protocol version that was not offered")
        session_id = reply.header("mcp-session-id")
        if session_id is not None and (not session_id.isascii() or not 0 < len(session_id) <= MAX_SESSION_ID):
            raise BackendMisbehaved(self.backend, "its session id is not a short visible ASCII string")
        return self._build(session_id, version, result)

    async def _read_refusal(self, reply: Reply) -> Failure:
        try:
            failure = await check_reply(reply, self.backend, has_session=False)
        except BackendMisbehaved:
            failure = None
        if failure is None:
            raise NotStreamable
        return failure

    async def _confirm(self, session: UpstreamSession) -> None:
        reply = await session.post(write_notification("notifications/initialized", b""), timeout=self.seconds)
        await reply.read(limit=RESULT_LIMIT, timeout=self.seconds)
        await reply.close()
        if reply.status >= 300:
            raise BackendMisbehaved(self.backend, f"it answered the end of the handshake with status {reply.status}")

    async def _discover(self) -> UpstreamSession | None:
        request_id = self.minter.next_id()
        params = (
            b'{"_meta":{"io.modelcontextprotocol/protocolVersion":"%b",'
            b'"io.modelcontextprotocol/clientCapabilities":%b,"io.modelcontextprotocol/clientInfo":%b}}'
        ) % (MODERN_VERSION.encode(), self.declared.json, self.client_info)
        headers = [("mcp-protocol-version", MODERN_VERSION), ("mcp-method", "server/discover")]
        if self.endpoint.instance is not None:
            headers.append(("mcp-session-id", self.endpoint.instance))
        reply = await self._post(write_request(request_id, "server/discover", params), headers)
        result = await self._read_response(reply, request_id)
        if isinstance(result, Failure) or MODERN_VERSION not in self._read(result, _Discovered).supportedVersions:
            return None
        return self._build(self.endpoint.instance, MODERN_VERSION, result)

    async def _post(self, message: bytes, extra: list[tuple[str, str]]) -> Reply:
        headers = self.endpoint.headers.plus(
            ("content-type", "application/json"), ("accept", "application/json, text/event-stream"), *extra
        )
        http, path, target = self.endpoint.http, self.endpoint.path, self.endpoint.target
        if target is None or self.moved_to is not None:
            return await http.send("POST", self.moved_to or path, headers, message, timeout=self.seconds)
        reply, found = await send_within_origin(http, "POST", target, headers, message, timeout=self.seconds)
        self.moved_to = found.path if found is not target else None
        return reply

    async def _read_response(self, reply: Reply, request_id: bytes) -> bytes | Failure:
        """The result of a handshake request, whichever way it came; what else is on its stream does not matter yet."""
        failure = await check_reply(reply, self.backend, has_session=False)
        if failure is not None:
            return failure
        try:
            parser = SseParser(RESULT_LIMIT) if "event-stream" in (reply.header("content-type") or "") else None
            if parser is None:
                found = self._find(await reply.read(limit=RESULT_LIMIT, timeout=self.seconds), request_id)
                if found is not None:
                    return found
            else:
                while (chunk := await reply.read_chunk(timeout=self.seconds)) is not None:
                    for event in parser.feed(chunk):
                        if (found := self._find(event, request_id)) is not None:
                            return found
        except EventTooLarge:
            raise BackendMisbehaved(self.backend, "its answer to the handshake is too large") from None
        finally:
            await reply.close()
        raise BackendMisbehaved(self.backend, "it did not answer the handshake")

    def _find(self, data: bytes, request_id: bytes) -> bytes | Failure | None:
        try:
            envelopes = read_envelopes(data)
        except ValueError:
            raise BackendMisbehaved(self.backend, "it sent something that is not a JSON-RPC message") from None
        for envelope in envelopes:
            if envelope.method:
                continue
            if envelope.error:
                return read_failure(envelope.error)
            if bytes(envelope.id) == request_id and envelope.result:
                return raw_bytes(envelope.result)
        return None

    def _read(self, result: bytes, kind: type[Kind]) -> Kind:
        try:
            return msgspec.json.decode(result, type=kind)
        except msgspec.MsgspecError:
            raise BackendMisbehaved(self.backend, "its answer to the handshake is malformed") from None

    def _build(self, session_id: str | None, version: str, result: bytes) -> UpstreamSession:
        record = UpstreamSessionRecord(self.key.digest, session_id, version, result, self.moved_to)
        return build_session(self.key, self.backend, self.endpoint, record, self.minter, self.aside)
