"""What the surface needs of the router: lists and calls. Protocols only; the router's own classes fit them."""

from collections.abc import AsyncGenerator, Callable, Collection
from typing import Protocol

from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.listing import ListKind
from gateway_proxy.router.messages import Announcement, Messages
from gateway_proxy.router.offers import Offer


class Listed(Protocol):
    """One page of what a tenant has of a kind: `raw` is the JSON array, names rewritten."""

    @property
    def raw(self) -> bytes: ...

    @property
    def next_cursor(self) -> str | None: ...

    @property
    def ttl_ms(self) -> int | None: ...


class TenantCatalog(Protocol):
    """The merged lists."""

    async def list_kind(
        self, ctx: TenantContext, caller: Caller, kind: ListKind, *, cursor: str | None = None
    ) -> Listed:
        """Raises CursorInvalid."""

    async def offer(self, ctx: TenantContext, *, modern: bool = False) -> Offer:
        """What the backends can do together, for a caller of that era."""


class ToolCaller(Protocol):
    """The one place where a tool call happens."""

    def call(self, ctx: TenantContext, caller: Caller, *, name: str, params: bytes) -> Messages:
        """What comes on the way, then one Result or Failure; raises RelayErrors. Closing it cancels upstream."""

    async def notify(self, ctx: TenantContext, caller: Caller, *, method: str) -> None:
        """Tell the backends that hold a session for this very client what it says (`notifications/…`, no params)."""

    def end_session(self, session_id: str) -> None:
        """The client's session has ended: end what backends hold for it alone. Never waits."""


class Requester(Protocol):
    """The one place where every other request goes to a backend."""

    def relay(self, ctx: TenantContext, caller: Caller, *, method: str, params: bytes) -> Messages:
        """As `ToolCaller.call`; raises PromptUnknown, ResourceUnknown, MethodUnknown too."""

    async def notify(self, ctx: TenantContext, caller: Caller, *, method: str, params: bytes) -> None:
        """Pass on a notification that the gateway does not know, where it is clear to whom."""


class Announcer(Protocol):
    """What backends say outside of calls."""

    def listen(
        self, ctx: TenantContext, caller: Caller, *, uris: Callable[[], Collection[str]], says_begun: bool = False
    ) -> AsyncGenerator[Announcement, None]:
        """Everything that is announced to this caller until it is closed; raises StorageUnavailable.

        With `says_begun` the first item is `BEGUN`: what a backend says from then on is not missed.
        """
