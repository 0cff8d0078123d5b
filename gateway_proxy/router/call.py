"""The one place where a tool call happens: authorize → route → call → record."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Final, Protocol

import msgspec

from gateway_proxy.backends.envelope import quote
from gateway_proxy.backends.exchange import Exchange
from gateway_proxy.backends.splice import UpstreamRequest, read_request
from gateway_proxy.backends.upstreams import Upstreams
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import GatewayError, RelayError
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.router.input_rounds import InputRounds, find_input_required
from gateway_proxy.router.messages import Failure, Notification, RelayMessage, Result, ServerRequest
from gateway_proxy.router.param_headers import check_param_headers, write_param_headers
from gateway_proxy.router.policy import Policy
from gateway_proxy.router.route import Route

INVALID_PARAMS: Final = -32602
METHOD: Final = "tools/call"
STATE_ELSEWHERE: Final = "params.requestState: not of the server that answers for this now"
_PROGRESS_TOKEN: Final = b'"call"'


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
        self._policy = policy
        self._audit = audit
        self._metrics = metrics
        self._clock = clock

    async def call(
        self, ctx: TenantContext, caller: Caller, *, name: str, params: bytes, timeout: float | None = None
    ) -> AsyncGenerator[RelayMessage, None]:
        """Call a tool: notifications (and, for callers that can answer, server requests), then one Result or Failure.

        `params` is the request's params object as it came; the name in it is replaced, the progress token re-minted,
        the rest goes upstream as it is. Closing the generator early cancels the call at the backend. `timeout` in
        seconds, else the backend's own; progress gives it its time again.

        Raises:
            ToolUnknown: No such tool in this tenant.
            HeaderMismatch: A header that repeats an argument does not agree with it.
            RateLimited: The tenant has too many calls under way.
            RelayError: The backend could not be reached or did not keep to the protocol.
            StorageUnavailable: The tenant's backends cannot be read.
        """
        route = await self._catalog.find_route(ctx, name)
        self._policy.authorize(ctx, route)
        try:
            request = read_request(METHOD, params, replace={"name": route.upstream_name})
        except ValueError:
            yield Failure(INVALID_PARAMS, "params and params._meta must be JSON objects")
            return
        if caller.only_backend is not None and caller.only_backend != route.backend.id:
            yield Failure(INVALID_PARAMS, STATE_ELSEWHERE)
            return
        if route.param_headers:
            _carry_over(route, caller, request)
        self._policy.admit(ctx)
        started = self._clock.monotonic()
        outcome = "cancelled"
        exchange: Exchange | None = None
        start = partial(
            self._upstreams.start,
            route.backend,
            ctx.principal.user_id,
            caller,
            request,
            timeout=timeout,
            on_change=self._catalog.on_change_of(route.backend),
        )
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
                rounds = InputRounds(route.backend, caller, request, start)
                async with aclosing(rounds.run(required)) as messages:
                    async for message in messages:
                        yield message
                final = rounds.final
            outcome = _outcome_of(final)
            yield final
        except GatewayError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._policy.leave(ctx)
            self._record(ctx, caller, route, outcome, self._clock.monotonic() - started)
            if exchange is not None:
                await exchange.close()

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
                if isinstance(message, Result | Failure):
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

    def _record(self, ctx: TenantContext, caller: Caller, route: Route, outcome: str, seconds: float) -> None:
        self._metrics.tool_called(caller.surface, outcome, seconds)
        self._audit.record(
            "tool.called",
            tenant_id=ctx.tenant.id,
            user_id=ctx.principal.user_id,
            tool=route.name,
            backend=route.backend.name,
            outcome=outcome,
            milliseconds=round(seconds * 1000, 1),
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


def _outcome_of(message: Result | Failure) -> str:
    """`ok`, `tool_error` (a result that says isError) or `error` (a JSON-RPC error of the backend)."""
    if isinstance(message, Failure):
        return "error"
    try:
        return "tool_error" if _verdict.decode(message.raw).isError else "ok"
    except (msgspec.MsgspecError, RecursionError):
        return "ok"
