"""The ASGI application of one worker: its life from start to drain, and the edge around the surfaces."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from types import FrameType

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_proxy.app.protected import admin_surface, http_sse_surface, mcp_surface, openai_surface
from gateway_proxy.app.public import People, public_routes
from gateway_proxy.app.surfaces import NotFound, Surfaces
from gateway_proxy.edge.cors import SurfaceCors
from gateway_proxy.edge.health import Draining
from gateway_proxy.edge.host_check import HostCheck
from gateway_proxy.edge.request_boundary import RequestBoundary
from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.http_sse import HttpSse
from gateway_proxy.services import Services, open_services
from gateway_proxy.settings import Settings
from gateway_proxy.storage.sql.database import load_driver
from gateway_proxy.telemetry.logs import configure_logs
from openai_routes.providers.transport import ProviderConnections


class Gateway:
    """The ASGI application of one worker: opens the services when the server starts, closes them when it stops."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._draining = Draining()
        self._endpoint: McpEndpoint | None = None
        self._http_sse: HttpSse | None = None
        self._app: ASGIApp | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The awaitable of whoever serves this."""
        if scope["type"] == "lifespan":
            return self._live(receive, send)
        return _closed() if self._app is None else self._app(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Serve for as long as the context lasts. On the way out the open streams are hung up first."""
        async with open_services(self._settings) as services:
            connections = ProviderConnections(services.guard, services.core.clock)
            try:
                self._build(services, connections)
                yield
            finally:
                self._drain()
                self._app = None
                if self._http_sse is not None:
                    await self._http_sse.close()
                if self._endpoint is not None:
                    await self._endpoint.close()
                await connections.close()

    async def _live(self, receive: Receive, send: Send) -> None:
        """The ASGI lifespan protocol around `lifespan`."""
        await receive()
        async with self.lifespan():
            self._drain_on_sigterm()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    def _build(self, services: Services, connections: ProviderConnections) -> None:
        settings = self._settings
        self._endpoint, mcp = mcp_surface(services)
        self._http_sse, http_sse_routes = http_sse_surface(services, self._endpoint)
        people = People.of(services)
        routes = [
            *http_sse_routes,
            *public_routes(services, people, self._draining),
            *openai_surface(services, connections),
            *admin_surface(services),
        ]
        surfaces = Surfaces(mcp, routes, NotFound(people.pages))
        cors = SurfaceCors(surfaces, public_url=settings.public_url, origins=settings.cors_origins)
        self._app = RequestBoundary(
            HostCheck(cors, settings.public_url, allowed=settings.allowed_hosts), services.metrics
        )

    def _drain_on_sigterm(self) -> None:
        """Hang up the open streams when the server is told to stop, not after it has waited for them in vain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.getsignal(number)

            def drain_then_stop(received: int, frame: FrameType | None, previous: object = previous) -> None:
                loop.call_soon_threadsafe(self._drain)
                if callable(previous):
                    previous(received, frame)

            try:
                signal.signal(number, drain_then_stop)
            except ValueError:  # not the main thread: whoever runs us there stops us by the lifespan
                return

    def _drain(self) -> None:
        self._draining.is_draining = True
        if self._endpoint is not None:
            self._endpoint.close_streams()


async def _closed() -> None:
    """Nothing is served any more; the server hangs up."""


def create_app() -> Gateway:
    """The application factory that every worker of the server calls. Imports all it needs and opens nothing."""
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    load_driver(settings.database_url)
    return Gateway(settings)
