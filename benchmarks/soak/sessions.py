"""Phase: MCP sessions that are opened and dropped, as clients do it: with DELETE, by hanging up, half-opened."""

import asyncio
from typing import Final

from benchmarks import wire
from benchmarks.soak.progress import Progress
from benchmarks.soak.site import DROPPERS, PATH, TOOLS, Site, check

LANES: Final = 16


async def open_and_drop(site: Site, amount: int) -> None:
    """Open so many sessions, a connection each, one after the other in every lane."""
    progress = Progress("sessions", amount)

    async def drop_some(numbers: range) -> None:
        for number in numbers:
            await _open_and_drop_one(site, number)
            progress.add()

    await asyncio.gather(*(drop_some(range(lane, amount, LANES)) for lane in range(LANES)))
    progress.end()


async def _open_and_drop_one(site: Site, number: int) -> None:
    """A third end with DELETE on another connection, a third hang up after a call, a third right after initialize."""
    person = number % DROPPERS
    connection = await site.connect()
    try:
        session = await site.initialize(connection, person)
        if number % 3 == 2:
            return
        headers = site.headers(person, session)
        answer = await connection.ask(wire.post(site.host, PATH, wire.INITIALIZED, headers))
        check(answer, 202, "initialized")
        answer = await connection.ask(wire.post(site.host, PATH, wire.call(TOOLS["json"], "once"), headers))
        check(answer, 200, "a call in a session", b"once")
    finally:
        connection.close()
    if number % 3 == 0:
        other = await site.connect()
        await site.end(other, person, session)
        other.close()
