"""A router that does as it is told: the surface's tests need calls that are slow, fail or notify at a test's wish."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from gateway_proxy.domain.errors import CursorInvalid, GatewayError, MethodUnknown, ToolUnknown
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.listing import TOOLS, ListKind
from gateway_proxy.router.messages import (
    Failure,
    Notification,
    Pause,
    RelayMessage,
    Result,
    ServerRequest,
    Withdrawal,
)
from gateway_proxy.router.offers import EVERYTHING, Offer

Step = RelayMessage | GatewayError | Callable[[], Awaitable[None]]


@dataclass
class FakePage:
    """A page of the list."""

    raw: bytes
    next_cursor: str | None
    ttl_ms: int | None = None


@dataclass
class FakeCatalog:
    """Two pages of tools per tenant, and nothing of the other kinds."""

    callers: list[Caller] = field(default_factory=list)

    async def list_kind(
        self, ctx: TenantContext, caller: Caller, kind: ListKind, *, cursor: str | None = None
    ) -> FakePage:
        self.callers.append(caller)
        if kind is not TOOLS and cursor is None:
            return FakePage(b"[]", None, ttl_ms=5)
        if cursor is None:
            return FakePage(b'[{"name":"%b__echo","x-vendor":1}]' % ctx.tenant.slug.encode(), 'two"')
        if cursor == 'two"':
            return FakePage(b"[]", None)
        raise CursorInvalid

    async def offer(self, ctx: TenantContext, *, modern: bool = False) -> Offer:
        return EVERYTHING


@dataclass
class FakeRequests:
    """Requests are scripts by method, as tools are by name; what has none is an unknown method."""

    scripts: dict[str, list[RelayMessage | GatewayError]] = field(default_factory=dict)
    relayed: list[tuple[str, bytes]] = field(default_factory=list)
    told: list[tuple[str, bytes]] = field(default_factory=list)

    async def relay(
        self, ctx: TenantContext, caller: Caller, *, method: str, params: bytes
    ) -> AsyncGenerator[RelayMessage, None]:
        self.relayed.append((method, params))
        for step in self.scripts.get(method, [MethodUnknown(method)]):
            if isinstance(step, GatewayError):
                raise step
            yield step

    async def notify(self, ctx: TenantContext, caller: Caller, *, method: str, params: bytes) -> None:
        self.told.append((method, params))


@dataclass
class Call:
    """A call that reached the router."""

    ctx: TenantContext
    caller: Caller
    name: str
    params: bytes

    @property
    def arguments(self) -> Any:
        """The arguments, decoded."""
        return json.loads(self.params).get("arguments")


@dataclass
class FakeToolCalls:
    """Tools are scripts: what to yield or raise, and what to wait for."""

    scripts: dict[str, list[Step]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    notified: list[tuple[Caller, str]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    async def call(
        self, ctx: TenantContext, caller: Caller, *, name: str, params: bytes
    ) -> AsyncGenerator[RelayMessage, None]:
        self.calls.append(Call(ctx, caller, name, params))
        self.started.set()
        if name not in self.scripts:
            raise ToolUnknown(name)
        try:
            for step in self.scripts[name]:
                if isinstance(step, GatewayError):
                    raise step
                if isinstance(step, Notification | ServerRequest | Withdrawal | Pause | Result | Failure):
                    yield step
                else:
                    await step()
        finally:
            self.closed.append(name)

    async def notify(self, ctx: TenantContext, caller: Caller, *, method: str) -> None:
        self.notified.append((caller, method))

    def end_session(self, session_id: str) -> None:
        self.ended.append(session_id)
