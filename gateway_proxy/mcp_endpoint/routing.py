"""What the surface needs of the router: lists and calls. Protocols only; the router's own classes fit them."""

from collections.abc import AsyncGenerator
from typing import Protocol

from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.messages import RelayMessage


class ListedTools(Protocol):
    """One page of a tenant's tools: `raw` is the JSON array, names rewritten."""

    @property
    def raw(self) -> bytes: ...

    @property
    def next_cursor(self) -> str | None: ...


class ToolCatalog(Protocol):
    """The merged list."""

    async def list_tools(self, ctx: TenantContext, caller: Caller, *, cursor: str | None = None) -> ListedTools:
        """Raises CursorInvalid."""


class ToolCaller(Protocol):
    """The one place where a tool call happens."""

    def call(
        self, ctx: TenantContext, caller: Caller, *, name: str, params: bytes
    ) -> AsyncGenerator[RelayMessage, None]:
        """What comes on the way, then one Result or Failure; raises RelayErrors. Closing it cancels upstream."""

    async def notify(self, ctx: TenantContext, caller: Caller, *, method: str) -> None:
        """Tell the backends that hold a session for this very client what it says (`notifications/…`, no params)."""
