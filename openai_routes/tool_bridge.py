"""The tenant's tools, as this surface needs them. They come from the router's catalog and nowhere else."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.catalog import ToolPage
from openai_routes.introduction import ToolSummary

CALLER: Final = Caller(
    session_id=None,
    protocol_version="2025-11-25",
    client_info_json=b'{"name":"gateway-proxy","title":"Chat","version":"1"}',
    capabilities_json=b"{}",
    modern=False,
)
PAGES_LIMIT: Final = 64


class ToolLists(Protocol):
    """What is needed of `router.catalog.Catalog`."""

    async def list_tools(
        self, ctx: TenantContext, caller: Caller, *, cursor: str | None = None, servers: Collection[str] | None = None
    ) -> ToolPage:
        """One page of the tools that the caller may see, restricted to `servers` unless None."""


class Definition(msgspec.Struct):
    """A tool definition as far as people read it."""

    name: str
    description: str | None = None


_definition: Final = msgspec.json.Decoder(Definition)


@dataclass(frozen=True, slots=True)
class ToolBridge:
    """From catalog to functions."""

    catalog: ToolLists

    async def list_summaries(self, ctx: TenantContext) -> list[ToolSummary]:
        """Name and description of every tool of the tenant, in the catalog's order."""
        found: list[ToolSummary] = []
        for raw in await self.list_definitions(ctx):
            tool = _definition.decode(raw)
            found.append(ToolSummary(tool.name, tool.description or ""))
        return found

    async def list_definitions(self, ctx: TenantContext, servers: Collection[str] | None = None) -> list[bytes]:
        """The raw definitions of every tool, all pages of them."""
        found: list[bytes] = []
        cursor: str | None = None
        for _ in range(PAGES_LIMIT):
            page = await self.catalog.list_tools(ctx, CALLER, cursor=cursor, servers=servers)
            found.extend(page.definitions)
            cursor = page.next_cursor
            if cursor is None:
                break
        return found
