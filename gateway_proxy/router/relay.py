"""The one place where every request but a tool call goes to a backend: authorize → route → send → record.

Prompts, resources, completion, subscriptions, and what the gateway has never heard of. Tool calls are in `call`.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Final, Protocol

from gateway_proxy.backends.exchange import Exchange
from gateway_proxy.backends.upstreams import Upstreams
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import GatewayError, MethodUnknown, RelayError
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.aims import COMPLETE, SUBSCRIBE, UNSUBSCRIBE, Aim, ParametersUnusable, find_aim
from gateway_proxy.router.call import INVALID_PARAMS, STATE_ELSEWHERE, CallAudit
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.router.input_rounds import InputRounds, find_input_required
from gateway_proxy.router.messages import Failure, RelayMessage, Result
from gateway_proxy.router.policy import Policy

METHOD_NOT_FOUND: Final = -32601
_DONE: Final = Result(b"{}")


class RequestMetrics(Protocol):
    """What is needed of `telemetry.metrics.Metrics`."""

    def request_relayed(self, method: str, outcome: str) -> None:
        """Count one request."""


class Requests:
    """Relays requests for every surface."""

    def __init__(
        self,
        catalog: Catalog,
        upstreams: Upstreams,
        *,
        policy: Policy,
        audit: CallAudit,
        metrics: RequestMetrics,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._upstreams = upstreams
        self._policy = policy
        self._audit = audit
        self._metrics = metrics
        self._clock = clock

    async def relay(
        self, ctx: TenantContext, caller: Caller, *, method: str, params: bytes
    ) -> AsyncGenerator[RelayMessage, None]:
        """Send a request: what comes on the way, then exactly one Result or Failure. Closing it early cancels.

        Raises:
            PromptUnknown, ResourceUnknown, MethodUnknown: It leads nowhere.
            RateLimited: The tenant has too many requests under way.
            RelayError: The backend could not be reached or did not keep to the protocol.
            StorageUnavailable: The tenant's backends cannot be read.
        """
        try:
            aim = await find_aim(self._catalog, ctx, method, params)
        except ParametersUnusable as fault:
            yield Failure(INVALID_PARAMS, f"Invalid params: {fault}")
            return
        if not self._policy.permits(ctx, aim.route.backend):
            raise MethodUnknown(method)
        if caller.only_backend is not None and caller.only_backend != aim.route.backend.id:
            yield Failure(INVALID_PARAMS, STATE_ELSEWHERE)
            return
        self._policy.admit(ctx)
        started = self._clock.monotonic()
        outcome = "cancelled"
        exchange: Exchange | None = None
        start = partial(self._begin, ctx, caller, aim)
        try:
            begun = await start()
            if isinstance(begun, Result | Failure):
                final = begun
            else:
                exchange = begun
                while not isinstance(message := await exchange.receive(), Result | Failure):
                    yield message
                final = message
            required = find_input_required(final, caller)
            if required is not None:
                rounds = InputRounds(aim.route.backend, caller, aim.request, start)
                async with aclosing(rounds.run(required)) as messages:
                    async for message in messages:
                        yield message
                final = rounds.final
            final = self._settle(aim, final)
            outcome = "error" if isinstance(final, Failure) else "ok"
            yield final
        except GatewayError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._policy.leave(ctx)
            self._record(ctx, aim, outcome, self._clock.monotonic() - started)
            if exchange is not None:
                await exchange.close()

    async def notify(self, ctx: TenantContext, caller: Caller, *, method: str, params: bytes) -> None:
        """Pass on a notification that the gateway does not know, where it is clear to whom; else nobody gets it.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        backend = await self._catalog.find_only_backend(ctx)
        if backend is not None and self._policy.permits(ctx, backend):
            try:
                await self._upstreams.tell(backend, ctx.principal.user_id, caller, method, params)
            except RelayError:
                return  # nobody waits for an answer

    async def _begin(self, ctx: TenantContext, caller: Caller, aim: Aim) -> Exchange | Result | Failure:
        backend, user_id = aim.route.backend, ctx.principal.user_id
        if aim.request.method == UNSUBSCRIBE and not self._upstreams.is_exclusive(backend, user_id, caller):
            return _DONE  # others on this session may be subscribed too; ours is filtered by whoever passes updates on
        on_change = self._catalog.on_change_of(backend)
        return await self._upstreams.start(backend, user_id, caller, aim.request, on_change=on_change)

    def _settle(self, aim: Aim, message: Result | Failure) -> Result | Failure:
        """A backend of 2026-07-28 takes subscriptions with `subscriptions/listen` and not by this method."""
        if isinstance(message, Failure) and message.code == METHOD_NOT_FOUND:
            introduction = self._upstreams.find_introduction(aim.route.backend)
            takes_them = introduction is not None and introduction.flag("resources", "subscribe")
            if takes_them and aim.request.method in (SUBSCRIBE, UNSUBSCRIBE):
                return _DONE
        return message

    def _record(self, ctx: TenantContext, aim: Aim, outcome: str, seconds: float) -> None:
        method = aim.request.method
        self._metrics.request_relayed(method if aim.target else "other", outcome)
        if method == COMPLETE:
            return  # one per key that somebody presses
        self._audit.record(
            "request.relayed",
            tenant_id=ctx.tenant.id,
            user_id=ctx.principal.user_id,
            method=method,
            target=aim.target,
            backend=aim.route.backend.name,
            outcome=outcome,
            milliseconds=round(seconds * 1000, 1),
        )
