"""A small Apiman gateway over real HTTP: it knows some keys, counts who asked, and can be made to fail or to stall."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.llm.serving import serve

PATH = "/gw/org/llm/1.0/ping"


@dataclass
class FakeApiman:
    """`known` keys get 200 on the probe path, others 403. `status` answers everything; `stalled` answers nothing."""

    known: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    header: str = "X-API-Key"
    status: int | None = None
    stalled: asyncio.Event | None = None
    url: str = ""

    async def answer(self, request: Request) -> Response:
        """One probe."""
        key = request.headers.get(self.header, "")
        self.asked.append(key)
        if self.stalled is not None:
            await self.stalled.wait()
        return Response(status_code=self.status or (200 if key in self.known else 403))


@asynccontextmanager
async def running_apiman(known: set[str] | None = None, header: str = "X-API-Key") -> AsyncGenerator[FakeApiman, None]:
    """The gateway on a loopback port; `url` is its `gateway_url`."""
    apiman = FakeApiman(known or set(), header=header)
    async with serve(Starlette(routes=[Route(PATH, apiman.answer)])) as origin:
        apiman.url = f"{origin}/gw"
        yield apiman
        if apiman.stalled is not None:
            apiman.stalled.set()
