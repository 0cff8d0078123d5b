"""The one door to backends. A request goes in, an `Exchange` comes out.

Sessions are opened on the first call that needs them (`pool`), and are shared with the other workers through the
session store, so that any worker and a restarted process go on with the same one.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway_proxy.backends.breaker import Breaker
from gateway_proxy.backends.caller import NOTHING_DECLARED, Caller, Declared
from gateway_proxy.backends.deadline import Deadline
from gateway_proxy.backends.ear import Ear, Listener, Uris, write_listen
from gateway_proxy.backends.endpoints import Endpoints
from gateway_proxy.backends.envelope import one_line, write_notification, write_request
from gateway_proxy.backends.exchange import Exchange
from gateway_proxy.backends.faults import relay_error
from gateway_proxy.backends.introduction import OF_AN_API, Introduction
from gateway_proxy.backends.log_levels import EVERYTHING, LEVELS, NOTHING, asked_level, floor_of
from gateway_proxy.backends.messages import Announcement, Failure, Result
from gateway_proxy.backends.opening import Opener, UpstreamRecords, open_seconds
from gateway_proxy.backends.pool import START_PATIENCE, Place, SessionPool, Standing, key_of
from gateway_proxy.backends.replies import SessionExpired, check_reply
from gateway_proxy.backends.runner_http import Fault
from gateway_proxy.backends.session_key import SHARED, part_of, part_of_session
from gateway_proxy.backends.splice import GATEWAY_INFO, UpstreamRequest, header_value
from gateway_proxy.backends.upstream_session import Aside, Era, Minter, UpstreamSession
from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import (
    BackendMisbehaved,
    BackendTimeout,
    BackendUnavailable,
    EgressError,
    GatewayError,
)

if TYPE_CHECKING:
    from gateway_proxy.backends.openapi.services import OpenApiServices

NOBODY: Final = Caller(None, "2025-11-25", GATEWAY_INFO, b"{}", modern=False)
NOBODY_MODERN: Final = Caller(None, "2026-07-28", GATEWAY_INFO, b"{}", modern=True)

_MODERN: Final = Era.MODERN  # to look into an enumeration costs a microsecond's quarter, on every call
_OPENAPI: Final = Transport.OPENAPI
OnChange = Callable[[str], None]
FAULT_TIMEOUT: Final = 2.0


class Upstreams:
    """Starts requests at backends. One instance per worker; `close` lets go of connections, not of sessions."""

    def __init__(self, endpoints: Endpoints, records: UpstreamRecords, clock: Clock) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._minter = Minter()
        self._aside = Aside()
        self._openapi: OpenApiServices | None = None
        self._opener = Opener(endpoints, records, minter=self._minter, aside=self._aside)
        self._pool = SessionPool(self._opener, clock)
        self._ears: dict[Place, Ear] = {}
        self._breakers: dict[str, tuple[int, Breaker]] = {}

    def start(
        self,
        backend: Backend,
        user_id: str,
        caller: Caller,
        request: UpstreamRequest,
        *,
        timeout: float | None = None,
        on_change: OnChange,
    ) -> Awaitable[Exchange | Result | Failure]:
        """Send a caller's request; `timeout` in seconds, else the backend's own. `on_change` hears of list_changed.

        Raises:
            RelayError: The backend could not be reached, or answered with something that is not the protocol.
        """
        standing = self._pool.stand(backend, user_id, caller)
        return self._start(standing, backend, user_id, caller, request, timeout, on_change, START_PATIENCE)

    async def start_shared(
        self, backend: Backend, request: UpstreamRequest, *, timeout: float, on_change: OnChange
    ) -> Exchange | Result | Failure:
        """Send a request of the gateway's own (lists), on the session that the tenant shares.

        Raises:
            RelayError: As `start`.
        """
        return await self._start(_shared(backend), backend, "", NOBODY, request, timeout, on_change, math.inf)

    async def introduce(self, backend: Backend, *, modern: bool = False) -> Introduction:
        """How the backend introduced itself, on the session that the tenant shares; opened if need be.

        With `modern` to callers of 2026-07-28, to whom it may offer more, if it speaks that.

        Raises:
            RelayError: As `start`.
        """
        if backend.transport is Transport.OPENAPI:
            return OF_AN_API
        breaker = self._check_usable(backend)
        deadline = Deadline(self._clock, open_seconds(backend))
        try:
            standing = self._pool.stand(backend, "", NOBODY_MODERN) if modern else _shared(backend)
            _, session = await self._pool.get(standing, backend, "", NOBODY_MODERN if modern else NOBODY, deadline)
        except (BackendUnavailable, BackendMisbehaved, BackendTimeout) as error:
            breaker.failed(error)
            raise
        session.was_used = True
        return session.introduction

    def find_introduction(self, backend: Backend) -> Introduction | None:
        """The same without waiting: None while the tenant's session is not open here."""
        if backend.transport is Transport.OPENAPI:
            return OF_AN_API
        session = self._pool.find(_shared(backend).place)
        return None if session is None else session.introduction

    async def notify(self, backend: Backend, user_id: str, caller: Caller, method: str) -> None:
        """Tell a backend what this very client says, if there is a session for it; none is opened for that."""
        standing = self._pool.stand(backend, user_id, caller)
        if backend.unreadable or not standing.declared.methods:
            return
        session = await self._pool.find_anywhere(standing, backend)
        if session is not None and session.era is Era.LEGACY:
            self._aside.spawn(session.post_and_forget(write_notification(method, b"")))

    async def tell(self, backend: Backend, user_id: str, caller: Caller, method: str, params: bytes) -> None:
        """Send a caller's notification, on a session opened if need be; whether it arrives is not waited for.

        Raises:
            RelayError: As `start`.
        """
        if backend.transport is Transport.OPENAPI:
            return
        self._check_usable(backend)
        standing = self._pool.stand(backend, user_id, caller)
        deadline = Deadline(self._clock, open_seconds(backend))
        _, session = await self._pool.get(standing, backend, user_id, caller, deadline, patience=START_PATIENCE)
        extra = [("mcp-method", header_value(method))] if session.era is Era.MODERN else None
        self._aside.spawn(session.post_and_forget(write_notification(method, one_line(params)), extra=extra))

    async def listen(
        self, backend: Backend, user_id: str, caller: Caller, *, uris: Uris, on_change: OnChange, begun: asyncio.Event
    ) -> AsyncGenerator[Announcement, None]:
        """What the backend says outside of calls on the caller's upstream session, which is opened if need be.

        `begun` is set once the stream is open, or is not to be had at the moment. The stream is shared by all who
        listen here to the same session, is begun anew when it breaks, and is subscribed to `uris`. It ends when the
        backend offers none or is gone, and for a listener that does not keep up.
        """
        if backend.transport is Transport.OPENAPI or backend.unreadable:
            begun.set()
            return
        standing = self._pool.stand(backend, user_id, caller)
        place = standing.place
        ear = self._ears.get(place)
        if ear is None:
            ear = self._ears[place] = Ear(
                partial(self._open_to_hear, backend, user_id, caller),
                partial(self._pool.expire, place),
                partial(write_listen, caller, standing.declared),
                on_change,
                is_shared=standing.is_shared,
            )
        listener = Listener(uris, floor_of(caller, caller.log_level), begun)
        try:
            async with aclosing(ear.listen(listener)) as announcements:
                async for announcement in announcements:
                    yield announcement
        finally:
            if ear.is_idle and self._ears.get(place) is ear:
                del self._ears[place]

    def is_exclusive(self, backend: Backend, user_id: str, caller: Caller) -> bool:
        """Whether the caller's session has its upstream session to itself."""
        return part_of(backend, user_id, caller, caller.declared()).startswith("session:")

    def breaker_of(self, backend: Backend) -> Breaker:
        """The breaker of this revision of a backend; an edited backend starts with a fresh one."""
        held = self._breakers.get(backend.id)
        if held is not None and held[0] == backend.revision:
            return held[1]
        breaker = Breaker(self._clock)
        self._breakers[backend.id] = (backend.revision, breaker)
        return breaker

    def trouble_of(self, backend: Backend) -> GatewayError | None:
        """Why the backend is left alone at the moment; None when it is not."""
        breaker = self.breaker_of(backend)
        return breaker.last_error if breaker.is_open else None

    async def find_fault(self, backend: Backend) -> Fault | None:
        """Why the child that the tenant shares ended or did not start, and its last words; None when nobody knows."""
        if backend.transport not in (Transport.STDIO, Transport.SSE):
            return None
        try:
            async with asyncio.timeout(FAULT_TIMEOUT):
                return await self._endpoints.find_fault(backend.name, key_of(backend, _shared(backend).place))
        except (BackendUnavailable, TimeoutError):
            return None

    def notes_of(self, backend: Backend) -> tuple[str, ...]:
        """What the backend has and the gateway does not offer, in phrases of ours."""
        return () if self._openapi is None else self._openapi.notes_of(backend)

    def retire(self, backend_id: str, revision: int) -> None:
        """That revision of a backend is gone: end its idle sessions and children, let go of its connections."""
        idle = self._pool.take_out(backend_id, revision)
        for place, ear in list(self._ears.items()):
            if place[0] == backend_id and place[1] == revision:
                del self._ears[place]
                ear.stop()
        if self._openapi is not None:
            self._openapi.forget(backend_id, revision)
        self._aside.spawn(self._retire(idle, backend_id, revision))
        held = self._breakers.get(backend_id)
        if held is not None and held[0] == revision:
            del self._breakers[backend_id]

    def forget_cache(self, backend: Backend) -> None:
        """A tenant has no server of that name any more: the runner need not keep what its program downloaded."""
        if backend.transport is Transport.STDIO:
            self._aside.spawn(self._forget_cache(backend))

    def end_session(self, session_id: str) -> None:
        """A client's session has ended: end the sessions and children that it had to itself."""
        for session in self._pool.take_out_part(part_of_session(session_id)):
            self._aside.spawn(self._opener.retire(session))

    async def close(self) -> None:
        """Stop what is being done aside and close all connections."""
        for ear in self._ears.values():
            ear.stop()
        await self._pool.close()
        await self._aside.close()
        await self._endpoints.close()

    async def _start(
        self,
        standing: Standing,
        backend: Backend,
        user_id: str,
        caller: Caller,
        request: UpstreamRequest,
        timeout: float | None,
        on_change: OnChange,
        patience: float,
    ) -> Exchange | Result | Failure:
        deadline = Deadline(self._clock, backend.timeout if timeout is None else timeout)
        if backend.transport is _OPENAPI:
            _check_readable(backend)
            return await self._openapi_services().answer(backend, request, deadline, self.breaker_of(backend))
        breaker = self._check_usable(backend)
        try:
            session = self._pool.find(standing.place)
            if session is None:
                standing, session = await self._pool.get(
                    standing, backend, user_id, caller, deadline, patience=patience
                )
            try:
                return await self._send(session, caller, standing.declared, request, deadline, breaker, on_change)
            except SessionExpired:
                await self._pool.expire(standing.place, session)
            standing, session = await self._pool.get(standing, backend, user_id, caller, deadline, patience=patience)
            try:
                return await self._send(session, caller, standing.declared, request, deadline, breaker, on_change)
            except SessionExpired:
                raise BackendMisbehaved(backend.name, "it does not know the session that it has just opened") from None
        except EgressError as error:
            problem = relay_error(backend.name, error, seconds=deadline.seconds)
            breaker.failed(problem)
            raise problem from None
        except (BackendUnavailable, BackendMisbehaved, BackendTimeout) as error:
            if not (isinstance(error, BackendUnavailable) and error.is_starting):
                breaker.failed(error)
            raise

    def _openapi_services(self) -> "OpenApiServices":
        if self._openapi is None:  # many modules, and most gateways have no such service
            from gateway_proxy.backends.openapi.services import OpenApiServices  # noqa: PLC0415 - with the first one

            self._openapi = OpenApiServices(self._endpoints, self._clock)
        return self._openapi

    def _check_usable(self, backend: Backend) -> Breaker:
        _check_readable(backend)
        breaker = self.breaker_of(backend)
        pause = breaker.pause_left()
        if pause:
            raise BackendUnavailable(backend.name, pause, "it failed repeatedly and is left alone for a while")
        return breaker

    async def _send(
        self,
        session: UpstreamSession,
        caller: Caller,
        declared: Declared,
        request: UpstreamRequest,
        deadline: Deadline,
        breaker: Breaker,
        on_change: OnChange,
    ) -> Exchange | Failure:
        request_id = self._minter.next_id()
        is_modern = session.era is _MODERN
        params = request.write_params(request_id, modern=is_modern, caller=caller, capabilities=declared.json)
        session.was_used = True
        log_floor = EVERYTHING
        if caller.modern or caller.log_level is not None:
            level = asked_level(caller, request)
            log_floor = floor_of(caller, level)
            if level is not None and not is_modern:
                await self._set_level(session, level)
        try:
            reply = await session.post(
                write_request(request_id, request.method, params),
                timeout=deadline.left(session.backend_name),
                extra=request.header_pairs() if is_modern else None,
            )
        except (asyncio.CancelledError, EgressError):
            session.cancel(request_id)
            raise
        if reply.status != 200 or reply.header("content-encoding") is not None:
            failure = await check_reply(reply, session.backend_name, has_session=session.record.session_id is not None)
            if failure is not None:
                breaker.succeeded()
                return failure
        return Exchange(
            session,
            reply,
            request_id,
            progress_token=request.progress_token,
            declared=declared,
            deadline=deadline,
            breaker=breaker,
            on_change=on_change,
            log_floor=log_floor,
            passes_on=not caller.modern,
        )

    async def _open_to_hear(self, backend: Backend, user_id: str, caller: Caller) -> UpstreamSession:
        self._check_usable(backend)
        standing = self._pool.stand(backend, user_id, caller)
        deadline = Deadline(self._clock, open_seconds(backend))
        _, session = await self._pool.get(standing, backend, user_id, caller, deadline)
        if caller.log_level is not None and session.era is Era.LEGACY:
            await self._set_level(session, caller.log_level)
        return session

    async def _set_level(self, session: UpstreamSession, level: str) -> None:
        """Have a session send log messages from `level` up, unless it sends more already: callers may share it.

        What a caller has not asked for is filtered out of its calls. That it went out before the request is enough.
        """
        rank = LEVELS.index(level) if level in LEVELS else NOTHING
        if rank >= session.log_rank or not session.introduction.has("logging"):
            return
        session.log_rank = rank
        message = write_request(self._minter.next_id(), "logging/setLevel", b'{"level":"%b"}' % level.encode())
        with contextlib.suppress(EgressError):
            await session.post_and_forget(message)

    async def _forget_cache(self, backend: Backend) -> None:
        with contextlib.suppress(BackendUnavailable):  # what nobody uses goes by itself one day
            await self._endpoints.forget_cache(backend)

    async def _retire(self, sessions: list[UpstreamSession], backend_id: str, revision: int) -> None:
        try:
            await asyncio.gather(*(self._opener.retire(session) for session in sessions), return_exceptions=True)
        finally:
            self._endpoints.forget(backend_id, revision)


def _shared(backend: Backend) -> Standing:
    """Where the gateway's own requests stand: on the session that the tenant shares."""
    return Standing((backend.id, backend.revision, SHARED, NOTHING_DECLARED.json, ""), NOTHING_DECLARED)


def _check_readable(backend: Backend) -> None:
    if backend.unreadable:
        raise BackendUnavailable(backend.name, None, "its credentials are sealed under a key that is not configured")
