"""One POST to /mcp as both legs see it. Values only."""

from dataclasses import dataclass

from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.exchange import Exchange
from gateway_proxy.mcp_endpoint.headers import Acceptable, McpHeaders


@dataclass(slots=True)
class Post:
    """`request_id` is set as soon as it is known, so that an error can be answered to it; until then it is null.

    `farewell` is the response that ends a stream when this worker stops.
    """

    exchange: Exchange
    headers: McpHeaders
    accept: Acceptable
    ctx: TenantContext
    body: bytes = b""
    request_id: bytes = wire.NO_ID
    farewell: bytes | None = None
