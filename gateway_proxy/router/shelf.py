"""The last good snapshot of one backend, and when to fetch the next. A failing backend keeps what it had."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Literal

from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import (
    BackendMisbehaved,
    BackendRefusedCredentials,
    BackendTimeout,
    BackendUnavailable,
    GatewayError,
    RelayError,
    ResultTooLarge,
)
from gateway_proxy.router.listing import Snapshot
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

FRESH_SECONDS: Final = 60.0
SHORTEST_FRESH: Final = 5.0
FIRST_WAIT: Final = 5.0
FIRST_LIST_WAIT: Final = 10.0  # an empty list is worse than a slow one: clients may not ask again
LONGEST_BACK_OFF: Final = 60.0
RETRY_SECONDS: Final = 5.0
CHANGE_PAUSE: Final = 1.0

State = Literal["starting", "ready", "failing"]
Fetch = Callable[[Backend], Awaitable[Snapshot]]


class Shelf:
    """One backend's list. `refresh` is single-flight; nobody waits for it but, once, for the very first snapshot."""

    def __init__(self, backend: Backend, fetch: Fetch, clock: Clock, *, on_news: Callable[[], None]) -> None:
        """`on_news` is called when `snapshot` is another one, or was fetched because the backend spoke of changes."""
        self.backend = backend
        self.snapshot: Snapshot | None = None
        self._on_news = on_news
        self.problem: str | None = None
        self.listed_at: datetime | None = None
        self._fetch = fetch
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._first_until: float | None = None
        self._due_at = clock.monotonic()
        self._fetched_at = self._changed_at = float("-inf")
        self._failures = 0
        self._is_outdated = False
        self._has_changed = False
        self._later: asyncio.TimerHandle | None = None

    @property
    def state(self) -> State:
        """Whether the list is good, was good once but is no longer renewed, or has not come yet."""
        if self.problem is not None:
            return "failing"
        return "starting" if self.snapshot is None else "ready"

    def unavailable(self) -> BackendUnavailable:
        """Why nothing of it can be had, for whoever needs a list that has not come yet."""
        if self.problem is not None:
            return BackendUnavailable(self.backend.name, None, self.problem)
        return BackendUnavailable(self.backend.name, RETRY_SECONDS, "it is still being started", is_starting=True)

    def recall(self, snapshot: Snapshot, listed_at: datetime) -> None:
        """Begin with what was listed before this worker started. It stays due to be fetched."""
        if self.snapshot is None:
            self.snapshot, self.listed_at = snapshot, listed_at

    def touch(self) -> None:
        """Somebody looks at the list: renew it in the background if it is due."""
        if self._task is None and self._clock.monotonic() >= self._due_at:
            self.refresh()

    def changed(self) -> None:
        """The backend said that its list changed: renew it, but not more often than once a second for that reason."""
        self._is_outdated = self._has_changed = True
        now = self._clock.monotonic()
        self._due_at = min(self._due_at, max(now, self._changed_at + CHANGE_PAUSE))
        if now >= self._due_at:
            self._changed_at = now
        self.touch()
        if self._task is None:
            self._renew_later()

    def _renew_later(self) -> None:
        """Whoever waits to hear that it has changed does not look himself."""
        if self._later is None:
            left = max(0.0, self._due_at - self._clock.monotonic())
            self._later = asyncio.get_running_loop().call_later(left, self._touch_later)

    def _touch_later(self) -> None:
        """It is time. Not asked of the clock again: timers may fire a little early, and there is no second one."""
        self._later = None
        self._changed_at = self._clock.monotonic()
        self.refresh()

    def refresh(self) -> asyncio.Task[None]:
        """Fetch now, or join the fetch under way."""
        if self._task is None:
            if self._first_until is None:
                self._first_until = self._clock.monotonic() + FIRST_LIST_WAIT
            self._is_outdated = False
            self._task = asyncio.create_task(self._renew())
        return self._task

    def refresh_for_miss(self, *, older_than: float) -> asyncio.Task[None] | None:
        """A name was asked for that is not in the list: fetch it if it is older than so many seconds."""
        if self._task is not None or self._clock.monotonic() - self._fetched_at >= older_than:
            return self.refresh()
        return None

    def first_wait(self) -> tuple[asyncio.Task[None], float] | None:
        """The fetch under way and the seconds left to wait for it, while the very first snapshot is still to come."""
        if self._task is None or self.snapshot is not None or self.problem is not None or self._first_until is None:
            return None
        left = self._first_until - self._clock.monotonic()
        return (self._task, left) if left > 0 else None

    @property
    def attempt(self) -> asyncio.Task[None] | None:
        """The fetch under way behind one that failed; the very first one is waited for as `first_wait` says."""
        return None if self.problem is None else self._task

    @property
    def due_in(self) -> float:
        """Seconds until the list may be fetched again."""
        return max(0.0, self._due_at - self._clock.monotonic())

    def abandon(self) -> None:
        """Nobody will look at this list again: stop fetching."""
        self._forget_later()
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Stop fetching and wait for that."""
        self._forget_later()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _forget_later(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    async def _renew(self) -> None:
        try:
            snapshot = await self._fetch(self.backend)
        except GatewayError as error:
            self._failed(describe(error))
        except Exception:  # a boundary: whatever happens in the background, the shelf keeps a defined state
            log.exception("list_failed_unexpectedly", backend=self.backend.name)
            self._failed("an unexpected error; see the log")
        else:
            self._succeeded(snapshot)
        finally:
            self._task = None

    def _succeeded(self, snapshot: Snapshot) -> None:
        now = self._clock.monotonic()
        self._fetched_at, self._failures = now, 0
        self._due_at = now + (CHANGE_PAUSE if self._is_outdated else _freshness(snapshot))  # changed meanwhile
        self.problem, self.listed_at = None, self._clock.now()
        if self._is_outdated:
            self._renew_later()
        if snapshot != self.snapshot or (self._has_changed and not self._is_outdated):
            self._has_changed = self._is_outdated
            self.snapshot = snapshot
            self._on_news()

    def _failed(self, problem: str) -> None:
        self._failures += 1
        now = self._clock.monotonic()
        self._fetched_at = now
        self._due_at = now + min(2.0**self._failures, LONGEST_BACK_OFF)
        if self.problem != problem:
            log.warning("backend_list_failed", backend=self.backend.name, problem=problem)
        self.problem = problem


def _freshness(snapshot: Snapshot) -> float:
    """Seconds until it is worth asking again: what the backend says (2026-07-28, Caching), within our own bounds."""
    if snapshot.ttl_ms is None:
        return FRESH_SECONDS
    return min(max(snapshot.ttl_ms / 1000, SHORTEST_FRESH), FRESH_SECONDS)


def describe(error: GatewayError) -> str:
    """Why a backend's list cannot be had, in a phrase for the tenant's administrators."""
    if isinstance(error, BackendUnavailable):
        return error.reason
    if isinstance(error, BackendMisbehaved):
        return error.fault
    if isinstance(error, BackendTimeout):
        return f"it did not answer within {error.seconds:.0f} s"
    if isinstance(error, BackendRefusedCredentials):
        return "it refused the credentials of its definition"
    if isinstance(error, ResultTooLarge):
        return f"its answer is over {error.limit // 1024} KiB"
    return "it could not be listed" if isinstance(error, RelayError) else "the gateway's storage cannot be reached"
