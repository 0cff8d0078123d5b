"""What becomes of a chat when tool servers are not available. Without their tools a model makes results up.

An assistant that names its servers needs them: the chat fails, before anything is sent to the provider. One that has
whatever the tenant has goes on, and its model is told what is missing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.unlisted import Unlisted
from openai_routes.errors import ToolServersMissing

NAMED: Final = 20


class ServerLists(Protocol):
    """What is needed of `router.catalog.Catalog`."""

    async def find_unlisted(self, ctx: TenantContext, servers: Collection[str] | None) -> tuple[Unlisted, ...]:
        """Which of `servers` (None = all) have never been listed and cannot be now."""


@dataclass(frozen=True, slots=True)
class ToolServers:
    """Looks whether the servers of a chat are there. One whose last list is kept is: its calls say what is wrong."""

    catalog: ServerLists

    async def check(self, ctx: TenantContext, servers: Collection[str] | None) -> str:
        """A line for the model of what is missing among all servers (None); empty when nothing is.

        Raises:
            ToolServersMissing: One of the named servers is not available.
        """
        if servers is not None and not servers:
            return ""
        unlisted = await self.catalog.find_unlisted(ctx, servers)
        if unlisted and servers is not None:
            raise ToolServersMissing(unlisted)
        return missing_note([server.name for server in unlisted]) if unlisted else ""


def missing_note(names: Sequence[str]) -> str:
    """What the model is told of servers that are not available."""
    listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return (
        f"These tool servers are not available at the moment: {listed}. Their tools are missing. "
        "If a request needs one of them, say that it is not available; do not make up results."
    )
