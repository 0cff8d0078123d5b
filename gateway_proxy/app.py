"""The composition root: builds every handler, mounts what is PUBLIC and what is PROTECTED, and puts the edge around.

The only module that sees every room. A route stands in exactly one of two lists; the protected ones are behind
`RequireScope` and `ResolveTenant`, so no handler there can be reached without a verified principal and its tenant.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_proxy.admin_api.metrics import MetricsPage
from gateway_proxy.admin_api.status import StatusPage
from gateway_proxy.auth.bearer import read_bearer
from gateway_proxy.auth.error_bodies import admin_body, json_rpc_body
from gateway_proxy.auth.middleware import Challenge, ErrorBody, RequireScope
from gateway_proxy.browser.assets import Assets
from gateway_proxy.browser.authenticate import Authenticator
from gateway_proxy.browser.csrf import Csrf
from gateway_proxy.browser.next_step import NextSteps
from gateway_proxy.browser.pages import Pages
from gateway_proxy.browser.sessions import BrowserSessions
from gateway_proxy.browser.signing import Signing
from gateway_proxy.console.routes import ConsoleServices, console_routes
from gateway_proxy.domain import principal
from gateway_proxy.domain.errors import AuthError
from gateway_proxy.edge.cors import SurfaceCors
from gateway_proxy.edge.health import Draining, Health, Probe, Readiness
from gateway_proxy.edge.host_check import HostCheck
from gateway_proxy.edge.request_boundary import RequestBoundary
from gateway_proxy.mcp_endpoint.asgi import McpEndpoint
from gateway_proxy.mcp_endpoint.config import EndpointConfig, ServerIdentity
from gateway_proxy.oauth.consent import ConsentPage
from gateway_proxy.oauth.routes import OAuthServices, oauth_routes
from gateway_proxy.oauth.signin import SignIn, SignInPage, SignOut
from gateway_proxy.oauth.vocabulary import OAuthConfig
from gateway_proxy.services import Services, open_services
from gateway_proxy.settings import Settings
from gateway_proxy.storage.sql.assistants import list_assistants
from gateway_proxy.storage.sql.providers import list_providers
from gateway_proxy.telemetry.logs import configure_logs
from gateway_proxy.tenancy.middleware import ResolveTenant
from openai_routes.assistants import StoredModels
from openai_routes.errors import auth_error_body
from openai_routes.kept_turns import MemoryTurns, RedisTurns
from openai_routes.providers.transport import ProviderConnections
from openai_routes.routes import OpenAIDeps, openai_routes

VERSION = "0.1.0"
OPENAI_KEY_HEADERS = (b"x-api-key", b"api-key")


@dataclass(frozen=True)
class Door:
    """What stands in front of a protected surface: the scope, and how a refusal is said there."""

    scope: principal.Scope
    error_body: ErrorBody
    resource_metadata: str | None = None
    alternates: tuple[bytes, ...] = ()

    def before(self, app: ASGIApp, services: Services) -> ASGIApp:
        """`app`, reachable only with a token that carries the scope."""
        return RequireScope(
            ResolveTenant(app),
            services.verifier,
            self.scope,
            Challenge(self.scope.value, self.resource_metadata),
            self.error_body,
            alternates=self.alternates,
        )


@dataclass(frozen=True)
class People:
    """The parts that every page for people shares."""

    signing: Signing
    sessions: BrowserSessions
    csrf: Csrf
    assets: Assets
    pages: Pages
    next_steps: NextSteps
    authenticator: Authenticator

    @classmethod
    def of(cls, services: Services) -> "People":
        """Build them from the services."""
        core = services.core
        public_url = core.settings.public_url
        signing = Signing(core.keyring, core.clock)
        sessions = BrowserSessions(core.database, signing, core.clock, public_url=public_url)
        assets = Assets()
        return cls(
            signing=signing,
            sessions=sessions,
            csrf=Csrf(sessions, signing, public_url=public_url),
            assets=assets,
            pages=Pages(sessions, assets),
            next_steps=NextSteps(signing),
            authenticator=Authenticator(core.database, core.hasher, services.limiter, services.audit),
        )


def public_routes(services: Services, draining: Draining) -> list[Route]:
    """PUBLIC: everything that answers without a bearer token."""
    people = People.of(services)
    sign_in_page = SignInPage(people.pages, people.csrf, people.next_steps)
    sign_in = SignIn(sign_in_page, people.sessions, people.authenticator)
    sign_out = SignOut(people.pages, people.sessions, people.csrf, people.next_steps)
    probes: dict[str, Probe] = {"database": services.core.database.ping}
    if services.redis is not None:
        probes["redis"] = services.redis.ping
    return [
        Route("/health", Health().handle, methods=["GET"]),
        Route("/ready", Readiness(probes, draining).handle, methods=["GET"]),
        Route("/sign-in", sign_in.handle, methods=["GET", "POST"]),
        Route("/sign-out", sign_out.handle, methods=["POST"]),
        *console_routes(_console_services(services, people)),
        *oauth_routes(_oauth_services(services, people, sign_in_page)),
    ]


def _console_services(services: Services, people: People) -> ConsoleServices:
    core = services.core
    return ConsoleServices(
        public_url=core.settings.public_url,
        database=core.database,
        clock=core.clock,
        limiter=services.limiter,
        audit=services.audit,
        hasher=core.hasher,
        authenticator=people.authenticator,
        signing=people.signing,
        sessions=people.sessions,
        csrf=people.csrf,
        pages=people.pages,
        assets=people.assets,
        announce_revocation=services.revocations.announce,
    )


def _oauth_services(services: Services, people: People, sign_in_page: SignInPage) -> OAuthServices:
    core, settings = services.core, services.core.settings
    config = OAuthConfig(
        public_url=settings.public_url,
        access_ttl=settings.access_ttl,
        refresh_ttl=settings.refresh_ttl,
        refresh_grace=settings.refresh_grace,
    )
    return OAuthServices(
        config=config,
        database=core.database,
        clock=core.clock,
        limiter=services.limiter,
        audit=services.audit,
        fetcher=services.guard,
        signing=people.signing,
        sessions=people.sessions,
        csrf=people.csrf,
        pages=people.pages,
        sign_in_page=sign_in_page,
        consent_page=ConsentPage(people.pages, people.csrf, people.next_steps),
        announce_revocation=services.revocations.announce,
    )


def openai_surface(services: Services, connections: ProviderConnections) -> list[Route]:
    """PROTECTED by scope `openai`: /v1."""
    core, redis = services.core, services.redis
    door = Door(
        principal.Scope.OPENAI,
        auth_error_body,
        f"{core.settings.public_url}/.well-known/oauth-protected-resource/v1",
        OPENAI_KEY_HEADERS,
    )
    deps = OpenAIDeps(
        directory=StoredModels(
            core.database,
            core.clock,
            list_assistants=list_assistants,
            list_providers=partial(list_providers, keyring=core.keyring),
        ),
        catalog=services.relay.catalog,
        calls=services.relay.tool_calls,
        turns=MemoryTurns(core.clock) if redis is None else RedisTurns(redis, core.clock),
        connections=connections,
        audit=services.audit,
        clock=core.clock,
    )
    return [_guarded(route, door, services) for route in openai_routes(deps)]


def admin_surface(services: Services) -> list[Route]:
    """PROTECTED by scope `admin`: what operators ask."""
    door = Door(principal.Scope.ADMIN, admin_body)
    routes = [
        Route("/status", StatusPage(services.relay.catalog, VERSION).handle, methods=["GET"]),
        Route("/metrics", MetricsPage(services.metrics).handle, methods=["GET"]),
    ]
    return [_guarded(route, door, services) for route in routes]


def _guarded(route: Route, door: Door, services: Services) -> Route:
    guarded = Route(route.path, door.before(route.app, services), methods=None)
    guarded.methods = route.methods
    return guarded


def mcp_surface(services: Services) -> tuple[McpEndpoint, ASGIApp]:
    """PROTECTED by scope `mcp`: the endpoint, and the same behind its door."""
    settings = services.core.settings

    async def is_still_welcome(scope: Scope) -> bool:
        try:
            verified = await services.verifier.verify(read_bearer(scope["headers"]))
        except AuthError:
            return False
        return principal.Scope.MCP in verified.principal.scopes

    endpoint = McpEndpoint(
        services.relay.catalog,
        services.relay.tool_calls,
        services.sessions,
        services.core.clock,
        EndpointConfig(settings.public_url, settings.cors_origins, ServerIdentity(name=settings.name, version=VERSION)),
        is_still_welcome=is_still_welcome,
    )
    resource_metadata = f"{settings.public_url}/.well-known/oauth-protected-resource/mcp"
    return endpoint, Door(principal.Scope.MCP, json_rpc_body, resource_metadata).before(endpoint, services)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    body = {"error": "There is nothing at this path.", "details": [request.scope["path"][:200]]}
    response: Response = JSONResponse(body, status_code=404)
    await response(scope, receive, send)


class Surfaces:
    """Sends a request to its surface. /mcp is looked at first: it is the hot path."""

    def __init__(self, mcp: ASGIApp, routes: Sequence[Route]) -> None:
        self._mcp = mcp
        self._router = Router(routes, redirect_slashes=False, default=_not_found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in ("/mcp", "/mcp/"):
            await self._mcp(scope, receive, send)
        else:
            await self._router(scope, receive, send)


class Gateway:
    """The ASGI application of one worker: opens the services when the server starts, closes them when it stops."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._draining = Draining()
        self._endpoint: McpEndpoint | None = None
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)

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
        routes = [
            *public_routes(services, self._draining),
            *openai_surface(services, connections),
            *admin_surface(services),
        ]
        cors = SurfaceCors(Surfaces(mcp, routes), public_url=settings.public_url, origins=settings.cors_origins)
        self._app = RequestBoundary(HostCheck(cors, settings.public_url), services.metrics)

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


def create_app() -> Gateway:
    """The application factory that every worker of the server calls."""
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    return Gateway(settings)
