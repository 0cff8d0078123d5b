"""`subscriptions/listen` (MCP 2026-07-28, SEP-2575): a request whose answer is a stream of what the client asked for.

The acknowledgement comes first, every message carries the request's id, and there is no replay: whose stream breaks
listens anew and lists again.
"""

from contextlib import aclosing
from typing import Final

import msgspec
from msgspec import Raw

from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.envelope import Request
from gateway_proxy.mcp_endpoint.errors import Refusal
from gateway_proxy.mcp_endpoint.open_streams import OpenStreams
from gateway_proxy.mcp_endpoint.parameters import SubscriptionParameters, decode_parameters, invalid_parameters
from gateway_proxy.mcp_endpoint.post import Post
from gateway_proxy.mcp_endpoint.routing import Announcer
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.messages import BEGUN

SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
UPDATED: Final = "notifications/resources/updated"
MAX_URIS: Final = 1000
MAX_URI: Final = 8192

_fields: Final = msgspec.json.Decoder(dict[str, Raw])


class Subscriptions:
    """Serves the streams of subscriptions in this worker."""

    def __init__(self, announcer: Announcer | None, streams: OpenStreams) -> None:
        """Without an `announcer` a stream stays silent."""
        self._announcer = announcer
        self._streams = streams

    async def serve(self, post: Post, request: Request, caller: Caller) -> None:
        """Hold the stream until the client leaves or this worker stops.

        Raises:
            Refusal: 406 for a client that takes no stream, -32602 for a filter that cannot be read.
            SessionLimitReached: The user, or this worker, holds as many streams as it may.
            StorageUnavailable: The tenant's backends cannot be read.
        """
        if not post.accept.sse:
            raise Refusal(406, wire.INVALID_REQUEST, "Accept: expected text/event-stream")
        wanted = _read_filter(request.params)
        owner = post.ctx.tenant.id, post.ctx.principal.user_id
        with self._streams.holding(*owner, "", post.exchange):
            await post.exchange.open_stream()
            post.farewell = wire.result_message(request.id, _result(request.id))
            await self._pass_on(post, request, caller, wanted)
            await post.exchange.write_last_event(post.farewell)

    async def _pass_on(self, post: Post, request: Request, caller: Caller, wanted: "_Wanted") -> None:
        """Until the announcer ends, which it does for a reader that is too slow.

        What is acknowledged is listened to already: a client may change something the moment it hears of it.
        """
        acknowledgement = _message(ACKNOWLEDGED, wanted.acknowledgement(), request.id)
        if self._announcer is None:
            await post.exchange.write_event(acknowledgement)
            await post.exchange.wait()
            return
        heard = self._announcer.listen(post.ctx, caller, uris=lambda: wanted.uris, says_begun=True)
        async with aclosing(heard) as news:
            async for announcement in news:
                if announcement is BEGUN:
                    await post.exchange.write_event(acknowledgement)
                elif announcement.method in wanted.methods:
                    params = announcement.params or b"{}"
                    await post.exchange.write_event(_message(announcement.method, params, request.id))


class _Wanted(msgspec.Struct, frozen=True):
    """What was asked for and will be sent."""

    methods: frozenset[str]
    uris: tuple[str, ...]
    flags: tuple[str, ...]

    def acknowledgement(self) -> bytes:
        """The part of the filter that is honoured: all of what we know of it."""
        honoured: dict[str, object] = dict.fromkeys(self.flags, True)
        if self.uris:
            honoured["resourceSubscriptions"] = self.uris
        return wire.to_json({"notifications": honoured})


def _read_filter(params: bytes) -> _Wanted:
    asked = decode_parameters(SubscriptionParameters, params).notifications
    flags = {
        "toolsListChanged": asked.tools_list_changed,
        "promptsListChanged": asked.prompts_list_changed,
        "resourcesListChanged": asked.resources_list_changed,
    }
    uris = tuple(asked.resource_subscriptions or ())
    if len(uris) > MAX_URIS or any(len(uri) > MAX_URI for uri in uris):
        reason = f"at most {MAX_URIS} URIs of at most {MAX_URI} characters"
        raise invalid_parameters(f"params.notifications.resourceSubscriptions: {reason}")
    chosen = tuple(name for name, is_wanted in flags.items() if is_wanted)
    methods = {f"notifications/{name.removesuffix('ListChanged')}/list_changed" for name in chosen}
    return _Wanted(frozenset(methods | ({UPDATED} if uris else set())), uris, chosen)


def _message(method: str, params: bytes, request_id: bytes) -> bytes:
    """A notification of this subscription."""
    fields = _fields.decode(params)
    meta = _fields.decode(fields["_meta"]) if bytes(fields.get("_meta", b""))[:1] == b"{" else {}
    meta[SUBSCRIPTION_ID] = Raw(request_id)
    fields["_meta"] = Raw(wire.to_json(meta))
    return wire.notification_message(method, wire.to_json(fields))


def _result(request_id: bytes) -> bytes:
    return wire.to_json({"resultType": "complete", "_meta": {SUBSCRIPTION_ID: Raw(request_id)}})
