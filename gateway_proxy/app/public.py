"""PUBLIC: everything that answers without a bearer token, and what the pages for people are made of."""

from dataclasses import dataclass
from functools import partial

from starlette.routing import Route

from gateway_proxy.browser.assets import Assets
from gateway_proxy.browser.authenticate import Authenticator
from gateway_proxy.browser.csrf import Csrf
from gateway_proxy.browser.next_step import NextSteps
from gateway_proxy.browser.pages import Pages
from gateway_proxy.browser.sessions import BrowserSessions
from gateway_proxy.browser.signing import Signing
from gateway_proxy.console.routes import ConsoleServices, console_routes
from gateway_proxy.edge.health import Draining, Health, Probe, Readiness
from gateway_proxy.oauth.consent import ConsentPage
from gateway_proxy.oauth.routes import OAuthServices, oauth_routes
from gateway_proxy.oauth.signin import SignIn, SignInPage, SignOut
from gateway_proxy.oauth.vocabulary import OAuthConfig
from gateway_proxy.services import Services
from gateway_proxy.storage.redis.client import ping_redis


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


def public_routes(services: Services, people: People, draining: Draining) -> list[Route]:
    """PUBLIC: everything that answers without a bearer token."""
    sign_in_page = SignInPage(people.pages, people.csrf, people.next_steps)
    sign_in = SignIn(sign_in_page, people.sessions, people.authenticator)
    sign_out = SignOut(people.pages, people.sessions, people.csrf, people.next_steps)
    probes: dict[str, Probe] = {"database": services.core.database.ping}
    if services.redis is not None:
        probes["redis"] = partial(ping_redis, services.redis)
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
