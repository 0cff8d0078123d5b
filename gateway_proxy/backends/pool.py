"""The sessions that this worker holds with backends: found, opened once however many wait, expired, swept.

A caller of 2026-07-28 is served by that era where the backend speaks it, else by the handshake's: what the older one
cannot carry (extensions, `input_required`) goes through untouched then. What is sent on a session is not known here.
"""

import asyncio
import math
from typing import Final, NamedTuple

from gateway_proxy.backends.caller import NOTHING_DECLARED, Caller, Declared
from gateway_proxy.backends.deadline import Deadline
from gateway_proxy.backends.handshake import NotModern
from gateway_proxy.backends.opening import Opener
from gateway_proxy.backends.session_key import SHARED, SessionKey, allowed_for, part_of, stateless_part_of
from gateway_proxy.backends.splice import GATEWAY_INFO, client_info_of
from gateway_proxy.backends.upstream_session import Era, UpstreamSession
from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import BackendTimeout, BackendUnavailable

IDLE_SECONDS: Final = 900.0
REFUSED_SECONDS: Final = 3600.0
UNCLEAR_SECONDS: Final = 60.0
START_PATIENCE: Final = 30.0
"""What a call waits for a child that is being started. The start goes on without it."""

_RETRY_SECONDS: Final = 5.0
_NEVER_MODERN: Final = frozenset({Transport.SSE, Transport.OPENAPI})

Place = tuple[str, int, str, bytes, str]
"""Backend id, revision, isolation part, capabilities declared on opening, era asked for (empty for the handshake's)."""


class Standing(NamedTuple):
    """Where a caller's session with a backend is, and what the backend is told of the caller's capabilities."""

    place: Place
    declared: Declared

    @property
    def is_shared(self) -> bool:
        """Whether users of the tenant share the session."""
        return self.place[2] == SHARED


class SessionPool:
    """Keeps one session per place."""

    def __init__(self, opener: Opener, clock: Clock) -> None:
        self._opener = opener
        self._clock = clock
        self._sessions: dict[Place, UpstreamSession] = {}
        self._opening: dict[Place, asyncio.Task[UpstreamSession]] = {}
        self._not_modern: dict[str, tuple[int, float]] = {}
        self._swept_at = clock.monotonic()

    def stand(self, backend: Backend, user_id: str, caller: Caller) -> Standing:
        """How a caller stands at a backend, as far as it is known which era the backend speaks."""
        if caller.modern and self._may_be_modern(backend):
            part = stateless_part_of(backend, user_id)
            place = (backend.id, backend.revision, part, NOTHING_DECLARED.json, Era.MODERN.value)
            return Standing(place, caller.declared_raw())
        declared = caller.declared()
        part = part_of(backend, user_id, caller, declared)
        declared = allowed_for(part, declared)
        return Standing((backend.id, backend.revision, part, declared.json, ""), declared)

    def find(self, place: Place) -> UpstreamSession | None:
        """The session at a place, if it is open here."""
        return self._sessions.get(place)

    async def get(
        self,
        standing: Standing,
        backend: Backend,
        user_id: str,
        caller: Caller,
        deadline: Deadline,
        *,
        patience: float = math.inf,
    ) -> tuple[Standing, UpstreamSession]:
        """The session, opened if need be. The standing is another one when the backend does not speak the era.

        Waits no longer than the deadline, and for a child no longer than `patience` seconds; what is being opened then
        will be there for the next one.

        Raises:
            BackendUnavailable: Among other things, `is_starting`: it is a child, and the wait was over first.
            RelayError: It could not be opened.
        """
        session = self._sessions.get(standing.place)
        if session is not None:
            return standing, session
        slow = backend.transport is Transport.STDIO  # elsewhere the handshake has a time of its own
        until = asyncio.get_running_loop().time() + patience if slow else math.inf
        try:
            return standing, await self._open(standing.place, backend, caller, deadline, until)
        except NotModern as refusal:
            pause = UNCLEAR_SECONDS
            if refusal.is_sure or self._was_asked_before(backend):
                pause = REFUSED_SECONDS
            self._not_modern[backend.id] = (backend.revision, self._clock.monotonic() + pause)
        standing = self.stand(backend, user_id, caller)
        session = self._sessions.get(standing.place)
        return standing, session or await self._open(standing.place, backend, caller, deadline, until)

    async def find_anywhere(self, standing: Standing, backend: Backend) -> UpstreamSession | None:
        """The session, if this worker or another has opened it."""
        return self._sessions.get(standing.place) or await self._opener.find_session(
            backend, key_of(backend, standing.place)
        )

    async def expire(self, place: Place, session: UpstreamSession) -> None:
        """The backend has forgotten the session. Whoever is first takes it out; the others find the new one."""
        if self._sessions.get(place) is session:
            del self._sessions[place]
            await self._opener.forget(session)

    def take_out(self, backend_id: str, revision: int) -> list[UpstreamSession]:
        """Forget that revision of a backend; its idle sessions are returned, to be ended."""
        idle: list[UpstreamSession] = []
        for place, session in list(self._sessions.items()):
            if place[0] == backend_id and place[1] == revision:
                del self._sessions[place]
                if not session.under_way:
                    idle.append(session)
        held = self._not_modern.get(backend_id)
        if held is not None and held[0] == revision:
            del self._not_modern[backend_id]
        return idle

    def take_out_part(self, part: str) -> list[UpstreamSession]:
        """Forget every session of an isolation part; they are returned, to be ended."""
        places = [place for place in self._sessions if place[2] == part]
        return [self._sessions.pop(place) for place in places]

    async def close(self) -> None:
        """Stop what is being opened."""
        for task in list(self._opening.values()):
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)

    def _may_be_modern(self, backend: Backend) -> bool:
        if backend.transport in _NEVER_MODERN:
            return False
        held = self._not_modern.get(backend.id)
        return held is None or held[0] != backend.revision or self._clock.monotonic() >= held[1]

    def _was_asked_before(self, backend: Backend) -> bool:
        """A child that does not answer the question costs a process each time: twice is enough."""
        held = self._not_modern.get(backend.id)
        return backend.transport is Transport.STDIO and held is not None and held[0] == backend.revision

    async def _open(
        self, place: Place, backend: Backend, caller: Caller, deadline: Deadline, until: float
    ) -> UpstreamSession:
        """Opened by the first that asks while the others wait for it, until the deadline or that time of the loop."""
        self._sweep()
        task = self._opening.get(place)
        if task is None:
            key = key_of(backend, place)
            client_info = client_info_of(caller) if key.is_exclusive else GATEWAY_INFO
            declared = Declared(place[3], frozenset())
            task = asyncio.create_task(self._opener.get_session(backend, key, declared, client_info))
            self._opening[place] = task
            task.add_done_callback(lambda done: self._opened(place, done))
        try:
            patience = until - asyncio.get_running_loop().time()
            async with asyncio.timeout(min(deadline.left(backend.name), patience)):
                return await asyncio.shield(task)
        except TimeoutError:
            if backend.transport is Transport.STDIO:
                reason = "it is still being started"
                raise BackendUnavailable(backend.name, _RETRY_SECONDS, reason, is_starting=True) from None
            raise BackendTimeout(backend.name, deadline.seconds) from None

    def _opened(self, place: Place, task: asyncio.Task[UpstreamSession]) -> None:
        self._opening.pop(place, None)
        if not task.cancelled() and task.exception() is None:
            self._sessions[place] = task.result()

    def _sweep(self) -> None:
        """Forget sessions that nobody here used since the last sweep; they live on in the store and at the backend."""
        now = self._clock.monotonic()
        if now - self._swept_at < IDLE_SECONDS:
            return
        self._swept_at = now
        for place, session in list(self._sessions.items()):
            if not session.under_way and not session.was_used:
                del self._sessions[place]
            session.was_used = False


def key_of(backend: Backend, place: Place) -> SessionKey:
    """The key of the session at a place, by which the store and the runner know it."""
    return SessionKey(backend.tenant_id, backend.id, backend.revision, place[2], place[3], era=place[4])
