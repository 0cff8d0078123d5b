"""The one place where a tool call happens: authorize → route → call → record."""

import contextlib
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from gateway_proxy.backends.envelope import quote
from gateway_proxy.backends.exchange import Exchange
from gateway_proxy.backends.splice import UpstreamRequest, read_request
from gateway_proxy.backends.upstreams import Upstreams
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import RelayError
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.router.conversation import INVALID_PARAMS, STATE_ELSEWHERE, Conversation
from gateway_proxy.router.messages import OUTCOMES, Failure, Messages, Notification, Result, ServerRequest
from gateway_proxy.router.param_headers import check_param_headers, write_param_headers
from gateway_proxy.router.policy import Policy
from gateway_proxy.router.route import Route
from gateway_proxy.telemetry.logs import debug_switch, get_log

log = get_log(__name__)
is_debugging = debug_switch(__name__)

METHOD: Final = "tools/call"
_PROGRESS_TOKEN: Final = b'"call"'
_NULL: Final = msgspec.Raw(b"null")
_NO_ARGUMENTS: Final = msgspec.Raw(b"{}")
"""Many servers refuse a call with `null` for arguments or with none at all; clients send both."""


class CallAudit(Protocol):
    """What is needed of `telemetry.audit.AuditTrail`."""

    def record(
        self,
        event: str,
        *,
        tenant_id: str | None = None,
        user_id: str | None = None,
        **detail: str | int | float | bool | None,
    ) -> None:
        """Note an event; never waits."""


class CallMetrics(Protocol):
    """What is needed of `telemetry.metrics.Metrics`."""

    def tool_called(self, surface: str, outcome: str, seconds: float) -> None:
        """Count one call."""


class _Verdict(msgspec.Struct):
    isError: bool | None = None  # noqa: N815 - the name on the wire


_verdict: Final = msgspec.json.Decoder(_Verdict)


@dataclass(frozen=True, slots=True)
class _Means:
    """What a call is made with."""

    catalog: Catalog
    upstreams: Upstreams
    policy: Policy
    audit: CallAudit
    metrics: CallMetrics
    clock: Clock


class ToolCalls:
    """Makes tool calls for every surface."""

    def __init__(
        self,
        catalog: Catalog,
        upstreams: Upstreams,
        *,
        policy: Policy,
        audit: CallAudit,
        metrics: CallMetrics,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._upstreams = upstreams
        self._means = _Means(catalog, upstreams, policy, audit, metrics, clock)

    def call(
        self, ctx: TenantContext, caller: Caller, *, name: str, params: bytes, timeout: float | None = None
    ) -> Messages:
        """Call a tool: notifications (and, for callers that can answer, server requests), then one Result or Failure.

        `params` is the request's params object as it came; the name in it is replaced, the progress token re-minted,
        the rest goes upstream as it is. `aclose` before the end cancels the call at the backend. `timeout` in seconds,
        else the backend's own; progress gives it its time again. Reading it raises:

        Raises:
            ToolUnknown: No such tool in this tenant.
            HeaderMismatch: A header that repeats an argument does not agree with it.
            RateLimited: The tenant has too many calls under way.
            RelayError: The backend could not be reached or did not keep to the protocol.
            StorageUnavailable: The tenant's backends cannot be read.
        """
        return _ToolCall(self._means, ctx, caller, name, params, timeout)

    async def call_to_end(
        self,
        ctx: TenantContext,
        caller: Caller,
        *,
        name: str,
        arguments: bytes,
        timeout: float | None = None,
        on_progress: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> Result | Failure:
        """Call a tool and wait for its outcome; `arguments` is a JSON object. `on_progress` gets raw notifications.

        Raises:
            GatewayError: As `call`.
        """
        params = b'{"name":%b,"arguments":%b}' % (quote(name), arguments or b"{}")
        if on_progress is not None:
            params = params[:-1] + b',"_meta":{"progressToken":%b}}' % _PROGRESS_TOKEN
        async with aclosing(self.call(ctx, caller, name=name, params=params, timeout=timeout)) as messages:
            async for message in messages:
                if isinstance(message, OUTCOMES):
                    return message
                if isinstance(message, ServerRequest):
                    await message.refuse(-32601, "The client does not support this request.")
                elif on_progress is not None and isinstance(message, Notification):
                    await on_progress(message.raw)
        raise AssertionError("a call ends with a Result, a Failure or an error")

    async def notify(self, ctx: TenantContext, caller: Caller, *, method: str) -> None:
        """Tell the backends that hold a session for this very client what it says (a notification without params).

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        for backend in await self._catalog.list_backends(ctx):
            with contextlib.suppress(RelayError):
                await self._upstreams.notify(backend, ctx.principal.user_id, caller, method)

    def end_session(self, session_id: str) -> None:
        """A client's session has ended: what backends hold for it alone is ended, too, as far as this worker knows."""
        self._upstreams.end_session(session_id)


class _ToolCall(Conversation):
    """One of them."""

    _route: Route

    def __init__(
        self, means: "_Means", ctx: TenantContext, caller: Caller, name: str, params: bytes, timeout: float | None
    ) -> None:
        super().__init__(ctx, caller, means.policy, means.clock)
        self._means = means
        self._name = name
        self._params = params
        self._timeout = timeout

    async def _prepare(self) -> tuple[Backend, UpstreamRequest] | Failure:
        caller, means = self.caller, self._means
        route = self._route = await means.catalog.find_route(self.ctx, self._name)
        means.policy.authorize(self.ctx, route)
        try:
            request = read_request(METHOD, self._params, replace={"name": route.upstream_name})
        except ValueError:
            return Failure(INVALID_PARAMS, "params and params._meta must be JSON objects")
        if request.fields.get("arguments", _NULL) == _NULL:
            request.fields["arguments"] = _NO_ARGUMENTS
        if caller.only_backend is not None and caller.only_backend != route.backend.id:
            return Failure(INVALID_PARAMS, STATE_ELSEWHERE)
        if route.param_headers:
            _carry_over(route, caller, request)
        simpler = caller.without_tasks()
        if simpler is not caller and await means.catalog.find_only_backend(self.ctx) is None:
            self.caller = simpler  # a task's id does not say where it is: nobody could ask what became of it
        return route.backend, request

    def _send(self, backend: Backend, request: UpstreamRequest) -> Awaitable[Exchange | Result | Failure]:
        return self._means.upstreams.start(
            backend,
            self.ctx.principal.user_id,
            self.caller,
            request,
            timeout=self._timeout,
            on_change=self._means.catalog.on_change_of(backend),
        )

    def _outcome_of(self, final: Result | Failure) -> str:
        """`ok`, `tool_error` (a result that says isError) or `error` (a JSON-RPC error of the backend)."""
        if isinstance(final, Failure):
            return "error"
        if final.raw.find(b'"isError"') < 0:  # `in` makes an exception first
            return "ok"
        try:
            return "tool_error" if _verdict.decode(final.raw).isError else "ok"
        except (msgspec.MsgspecError, RecursionError):
            return "ok"

    def _record(self, outcome: str, seconds: float) -> None:
        route, ctx = self._route, self.ctx
        self._means.metrics.tool_called(self.caller.surface, outcome, seconds)
        self._means.audit.record(
            "tool.called",
            tenant_id=ctx.tenant.id,
            user_id=ctx.principal.user_id,
            tool=route.name,
            backend=route.backend.name,
            outcome=outcome,
            milliseconds=int(seconds * 10_000) / 10,  # `round` takes six times as long
        )
        if is_debugging():
            log.debug(
                "tool_call_ended",
                surface=self.caller.surface,
                tool=route.name,
                backend=route.backend.name,
                outcome=outcome,
                milliseconds=round(seconds * 1000),
            )


def _carry_over(route: Route, caller: Caller, request: UpstreamRequest) -> None:
    """Check the headers that repeat arguments, and write them for the backend.

    Raises:
        HeaderMismatch: They do not agree.
    """
    arguments = bytes(request.fields.get("arguments", b""))
    if caller.param_headers is not None:
        check_param_headers(route.param_headers, arguments, caller.param_headers)
    request.param_headers = write_param_headers(route.param_headers, arguments)
