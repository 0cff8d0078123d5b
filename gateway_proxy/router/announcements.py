"""What a client is told outside of calls: lists that changed, resources that were updated, log messages of backends.

It listens to the backends on the caller's own upstream sessions, and only while somebody asks here. Where the news go
from here, and that no other worker tells the same client, is for the surface.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from gateway_proxy.backends.ear import Uris
from gateway_proxy.backends.messages import BEGUN, Announcement
from gateway_proxy.backends.upstreams import Upstreams
from gateway_proxy.backends.waiting import Waiting
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import StorageUnavailable
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

LOOK_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 60.0
BEGIN_SECONDS: Final = 2.0


class Announcements:
    """Gathers the announcements of a tenant's backends for one caller."""

    def __init__(self, catalog: Catalog, upstreams: Upstreams) -> None:
        self._catalog = catalog
        self._upstreams = upstreams

    async def listen(
        self, ctx: TenantContext, caller: Caller, *, uris: Uris, says_begun: bool = False
    ) -> AsyncGenerator[Announcement, None]:
        """Everything that is announced, until it is closed. `uris` says what the caller is subscribed to at present.

        That a list changed is said once the new list is there, however many backends and kinds of news it is from;
        resources keep their URIs. Backends that come or go meanwhile are followed within seconds. It ends by itself
        only for a reader that does not keep up. With `says_begun` the first item is `BEGUN`: it comes when every
        backend is listened to, or after `BEGIN_SECONDS` seconds.

        Raises:
            StorageUnavailable: The tenant's backends cannot be read.
        """
        gathering = _Gathering(self._catalog, self._upstreams, ctx, caller, uris)
        async with self._catalog.watching(ctx, gathering.take_change):
            task = asyncio.create_task(gathering.follow(), name="announcements")
            try:
                if says_begun:
                    await gathering.wait_until_begun()
                    yield BEGUN
                while (announcement := await gathering.take()) is not None:
                    yield announcement
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


class _Gathering:
    """One caller's announcements: a task per backend, and the queue they come together in."""

    def __init__(self, catalog: Catalog, upstreams: Upstreams, ctx: TenantContext, caller: Caller, uris: Uris) -> None:
        self._waiting = Waiting()
        self._changes_waiting: set[str] = set()
        self._catalog = catalog
        self._upstreams = upstreams
        self._ctx = ctx
        self._caller = caller
        self._uris = uris
        self._ears: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._begun: dict[tuple[str, int], asyncio.Event] = {}
        self._has_looked = asyncio.Event()

    async def take(self) -> Announcement | None:
        """The next announcement; None when the reader was too slow."""
        announcement = await self._waiting.take()
        if announcement is not None:
            self._changes_waiting.discard(announcement.method)
        return announcement

    def take_change(self, method: str) -> None:
        """A list is another one. Changes of the same list that nobody has read of yet are one."""
        if method not in self._changes_waiting:
            self._changes_waiting.add(method)
            self._waiting.put(Announcement(method))

    async def wait_until_begun(self) -> None:
        """Until the backends that the tenant has are listened to; a slow one is not waited for longer than that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEGIN_SECONDS):
                await self._has_looked.wait()
                for begun in list(self._begun.values()):
                    await begun.wait()

    async def follow(self) -> None:
        """Listen to every backend that the tenant has, as long as it has it."""
        try:
            while True:
                try:
                    self._adopt(await self._catalog.list_backends(self._ctx))
                except StorageUnavailable:
                    log.info("backends_not_followed")
                self._has_looked.set()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            ears = list(self._ears.values())
            self._ears.clear()  # a cancelled task holds its frames, and they us: without the cycle all is freed at once
            for ear in ears:
                ear.cancel()
            await asyncio.gather(*ears, return_exceptions=True)

    def _adopt(self, backends: tuple[Backend, ...]) -> None:
        present = {(backend.id, backend.revision): backend for backend in backends}
        for place in self._ears.keys() - present.keys():
            self._ears.pop(place).cancel()
            del self._begun[place]
        for place in present.keys() - self._ears.keys():
            begun = self._begun[place] = asyncio.Event()
            self._ears[place] = asyncio.create_task(self._hear(present[place], begun), name="ear-of-a-client")

    async def _hear(self, backend: Backend, begun: asyncio.Event) -> None:
        """A backend without a stream is asked again after a while: it may have been updated."""
        while True:
            heard = self._upstreams.listen(
                backend,
                self._ctx.principal.user_id,
                self._caller,
                uris=self._uris,
                on_change=self._catalog.on_change_of(backend),
                begun=begun,
            )
            async with aclosing(heard) as announcements:
                async for announcement in announcements:
                    if not announcement.method.endswith("/list_changed"):
                        self._waiting.put(announcement)
            await asyncio.sleep(AGAIN_SECONDS)
