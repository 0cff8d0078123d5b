"""Phase: token refreshes, one after the other in each family, and now and then a call with what came of it."""

import asyncio
import json
from typing import Final

from benchmarks import wire
from benchmarks.soak.progress import Progress
from benchmarks.soak.site import PATH, Family, Site, check

CALL_EVERY: Final = 5
_PING: Final = wire.compact({"jsonrpc": "2.0", "id": 1, "method": "ping"})


async def refresh(site: Site, families: list[Family], amount: int) -> list[Family]:
    """Refresh so many times over all families; each family with its newest token."""
    progress = Progress("refreshes", amount)

    async def refresh_some(lane: int) -> Family:
        family, connection = families[lane], await site.connect()
        for number in range(lane, amount, len(families)):
            fields = {
                "grant_type": "refresh_token",
                "client_id": family.client_id,
                "refresh_token": family.refresh_token,
            }
            answer = await connection.ask(wire.form(site.host, "/oauth/token", fields))
            check(answer, 200, "a refresh")
            issued = json.loads(answer.body)
            family = Family(family.client_id, issued["refresh_token"])
            if number // len(families) % CALL_EVERY == 0:
                bearer = (("authorization", f"Bearer {issued['access_token']}"),)
                check(await connection.ask(wire.post(site.host, PATH, _PING, bearer)), 200, "a fresh access token")
            progress.add()
        connection.close()
        return family

    refreshed = await asyncio.gather(*map(refresh_some, range(len(families))))
    progress.end()
    return refreshed
