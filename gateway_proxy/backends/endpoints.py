"""From a backend's definition to where its messages go: straight to its URL, or to a child that the runner hosts."""

from typing import Final

from gateway_proxy.backends.faults import relay_error
from gateway_proxy.backends.runner_http import Fault, RunnerHttp
from gateway_proxy.backends.session_key import SessionKey
from gateway_proxy.backends.upstream_session import Endpoint
from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import AddressForbidden, BackendUnavailable, EgressError
from gateway_proxy.egress.exchange import RequestHeaders
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.egress.guarded_http import GuardedHttp
from gateway_proxy.egress.origin import parse_target
from gateway_proxy.egress.policy import origin_of

SSE_VARIANT: Final = "sse"
_OURS: Final = (("accept-encoding", "identity"), ("user-agent", "gateway-proxy"))
# What a definition may not set: the gateway's own, hop-by-hop (RFC 9110 §7.6.1), and whatever speaks of the caller.
_NOT_FROM_DEFINITIONS: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "trailer", "upgrade", "host",
        "content-length", "content-type", "accept", "accept-encoding", "expect", "forwarded", "last-event-id",
        "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name",
    }
)  # fmt: skip


class Endpoints:
    """Keeps one `Http` per backend, revision and origin, so that no tenant shares a connection with another."""

    def __init__(self, guard: EgressGuard, runner: RunnerHttp | None, clock: Clock) -> None:
        self._guard = guard
        self._runner = runner
        self._clock = clock
        self._https: dict[str, tuple[int, dict[str, GuardedHttp]]] = {}

    def network(self, backend: Backend, *, url: str | None = None, with_credentials: bool = True) -> Endpoint:
        """The endpoint of a backend at `url`, by default the one of its definition.

        Raises:
            BackendUnavailable: The URL or a header of the definition cannot be used.
        """
        url = backend.url if url is None else url
        if url is None:
            raise BackendUnavailable(backend.name, None, "its definition has no url")
        try:
            target = parse_target(url)
            headers = credential_headers(backend) if with_credentials else RequestHeaders(_OURS)
            return Endpoint(self._http_of(backend, url), target.path, headers, target=target)
        except AddressForbidden as error:
            raise relay_error(backend.name, error, seconds=0) from None
        except ValueError as error:
            raise BackendUnavailable(backend.name, None, f"its definition cannot be used: {error}") from None

    async def start_child(self, backend: Backend, key: SessionKey) -> Endpoint:
        """The endpoint of a child of the runner, running from now on.

        Raises:
            BackendUnavailable: There is no runner, or it would not start the child.
        """
        runner = self._need_runner(backend)
        is_stdio = backend.transport is Transport.STDIO
        child = await runner.ensure_child(
            key.digest,
            backend,
            transport="stdio" if is_stdio else "sse",
            is_exclusive=key.is_exclusive,
            connect_to=None if is_stdio else await self._addresses_of(backend),
        )
        return Endpoint(runner.http, child.path, runner.headers, ends_by_closing=True, instance=child.instance)

    def known_child(self, backend: Backend, key: SessionKey) -> Endpoint:
        """The endpoint of a child that some worker has started before.

        Raises:
            BackendUnavailable: There is no runner.
        """
        runner = self._need_runner(backend)
        return Endpoint(runner.http, f"/children/{key.digest}/mcp", runner.headers, ends_by_closing=True)

    async def stop_child(self, backend_name: str, key: SessionKey) -> None:
        """Stop a child of the runner.

        Raises:
            BackendUnavailable: The runner cannot be reached.
        """
        if self._runner is not None:
            await self._runner.stop_child(key.digest, backend_name)

    async def find_fault(self, backend_name: str, key: SessionKey) -> Fault | None:
        """Why a child of the runner does not work, if that is known.

        Raises:
            BackendUnavailable: The runner cannot be reached.
        """
        return None if self._runner is None else await self._runner.find_fault(key.digest, backend_name)

    async def forget_cache(self, backend: Backend) -> None:
        """The definition of a program is gone, and with it what was kept for its starts.

        Raises:
            BackendUnavailable: The runner cannot be reached.
        """
        if self._runner is not None:
            await self._runner.forget_cache(backend)

    def forget(self, backend_id: str, revision: int) -> None:
        """Let go of the connections of that revision of a backend; replies under way are still read."""
        held = self._https.get(backend_id)
        if held is not None and held[0] == revision:
            del self._https[backend_id]
            for http in held[1].values():
                http.retire()

    async def close(self) -> None:
        """Close all connections; sessions and children live on for the next process."""
        for _, https in self._https.values():
            for http in https.values():
                await http.close()
        self._https.clear()
        if self._runner is not None:
            await self._runner.close()

    def _http_of(self, backend: Backend, url: str) -> GuardedHttp:
        held = self._https.get(backend.id)
        if held is not None and held[0] != backend.revision:
            self.forget(backend.id, held[0])
            held = None
        if held is None:
            held = self._https[backend.id] = (backend.revision, {})
        origin = origin_of(url)
        http = held[1].get(origin)
        if http is None:
            allowed = origin if backend.origin != "tenant" else None
            http = held[1][origin] = GuardedHttp(self._guard, url, allowed_origin=allowed, clock=self._clock)
        return http

    async def _addresses_of(self, backend: Backend) -> list[str]:
        if backend.url is None:
            raise BackendUnavailable(backend.name, None, "its definition has no url")
        try:
            allowed = origin_of(backend.url) if backend.origin != "tenant" else None
            return list((await self._guard.resolve(backend.url, allowed_origin=allowed)).addresses)
        except EgressError as error:
            raise relay_error(backend.name, error, seconds=0) from None

    def _need_runner(self, backend: Backend) -> RunnerHttp:
        if self._runner is None:
            raise BackendUnavailable(backend.name, None, "no runner is configured")
        return self._runner


def credential_headers(backend: Backend) -> RequestHeaders:
    """The headers of the definition and ours; nothing of the caller's request is ever among them (security.md RS3).

    Raises:
        ValueError: A header that may not be sent, by name.
    """
    given = [
        (name, value)
        for name, value in backend.headers.items()
        if name.lower() not in _NOT_FROM_DEFINITIONS and not name.lower().startswith("x-forwarded-")
    ]
    return RequestHeaders([pair for pair in _OURS if pair[0] not in {name.lower() for name, _ in given}] + given)
