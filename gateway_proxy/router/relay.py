"""The one place where every request but a tool call goes to a backend: authorize → route → send → record.

Prompts, resources, completion, subscriptions, and what the gateway has never heard of. Tool calls are in `call`.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from gateway_proxy.backends.exchange import Exchange
from gateway_proxy.backends.splice import UpstreamRequest
from gateway_proxy.backends.upstreams import Upstreams
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import MethodUnknown, RelayError
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.aims import COMPLETE, SUBSCRIBE, UNSUBSCRIBE, Aim, ParametersUnusable, find_aim
from gateway_proxy.router.call import CallAudit
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.router.conversation import INVALID_PARAMS, STATE_ELSEWHERE, Conversation
from gateway_proxy.router.messages import Failure, Messages, Result
from gateway_proxy.router.policy import Policy

METHOD_NOT_FOUND: Final = -32601
_DONE: Final = Result(b"{}")


class RequestMetrics(Protocol):
    """What is needed of `telemetry.metrics.Metrics`."""

    def request_relayed(self, method: str, outcome: str) -> None:
        """Count one request."""


@dataclass(frozen=True, slots=True)
class _Means:
    """What a request is relayed with."""

    catalog: Catalog
    upstreams: Upstreams
    policy: Policy
    audit: CallAudit
    metrics: RequestMetrics
    clock: Clock


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
        self._means = _Means(catalog, upstreams, policy, audit, metrics, clock)

    def relay(self, ctx: TenantContext, caller: Caller, *, method: str, params: bytes) -> Messages:
        """Send a request: what comes on the way, then exactly one Result or Failure. `aclose` before that cancels.

        Reading it raises:

        Raises:
            PromptUnknown, ResourceUnknown, MethodUnknown: It leads nowhere.
            RateLimited: The tenant has too many requests under way.
            RelayError: The backend could not be reached or did not keep to the protocol.
            StorageUnavailable: The tenant's backends cannot be read.
        """
        return _Relayed(self._means, ctx, caller, method, params)

    async def notify(self, ctx: TenantContext, caller: Caller, *, method: str, params: bytes) -> None:
        """Pass on a notification that the gateway does not know, where it is clear to whom; else nobody gets it.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        backend = await self._means.catalog.find_only_backend(ctx)
        if backend is not None and self._means.policy.permits(ctx, backend):
            try:
                await self._means.upstreams.tell(backend, ctx.principal.user_id, caller, method, params)
            except RelayError:
                return  # nobody waits for an answer


class _Relayed(Conversation):
    """One of them."""

    _aim: Aim

    def __init__(self, means: "_Means", ctx: TenantContext, caller: Caller, method: str, params: bytes) -> None:
        super().__init__(ctx, caller, means.policy, means.clock)
        self._means = means
        self._method = method
        self._params = params

    async def _prepare(self) -> tuple[Backend, UpstreamRequest] | Failure:
        try:
            aim = self._aim = await find_aim(self._means.catalog, self.ctx, self._method, self._params)
        except ParametersUnusable as fault:
            return Failure(INVALID_PARAMS, f"Invalid params: {fault}")
        backend = aim.route.backend
        if not self._means.policy.permits(self.ctx, backend):
            raise MethodUnknown(self._method)
        if self.caller.only_backend is not None and self.caller.only_backend != backend.id:
            return Failure(INVALID_PARAMS, STATE_ELSEWHERE)
        return backend, aim.request

    async def _send(self, backend: Backend, request: UpstreamRequest) -> Exchange | Result | Failure:
        user_id, upstreams = self.ctx.principal.user_id, self._means.upstreams
        if request.method == UNSUBSCRIBE and not upstreams.is_exclusive(backend, user_id, self.caller):
            return _DONE  # others on this session may be subscribed too; ours is filtered by whoever passes updates on
        on_change = self._means.catalog.on_change_of(backend)
        return await upstreams.start(backend, user_id, self.caller, request, on_change=on_change)

    def _settle(self, final: Result | Failure) -> Result | Failure:
        """A backend of 2026-07-28 takes subscriptions with `subscriptions/listen` and not by this method."""
        if isinstance(final, Failure) and final.code == METHOD_NOT_FOUND:
            introduction = self._means.upstreams.find_introduction(self._aim.route.backend)
            takes_them = introduction is not None and introduction.flag("resources", "subscribe")
            if takes_them and self._method in (SUBSCRIBE, UNSUBSCRIBE):
                return _DONE
        return final

    def _outcome_of(self, final: Result | Failure) -> str:
        return "error" if isinstance(final, Failure) else "ok"

    def _record(self, outcome: str, seconds: float) -> None:
        aim, ctx = self._aim, self.ctx
        self._means.metrics.request_relayed(self._method if aim.target else "other", outcome)
        if self._method == COMPLETE:
            return  # one per key that somebody presses
        self._means.audit.record(
            "request.relayed",
            tenant_id=ctx.tenant.id,
            user_id=ctx.principal.user_id,
            method=self._method,
            target=aim.target,
            backend=aim.route.backend.name,
            outcome=outcome,
            milliseconds=round(seconds * 1000, 1),
        )
