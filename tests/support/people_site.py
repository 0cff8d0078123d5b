"""The pages for people and the authorization server as one ASGI app, put together as the composition root does it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.types import ASGIApp

from gateway_proxy.browser.assets import Assets
from gateway_proxy.browser.authenticate import Authenticator
from gateway_proxy.browser.csrf import Csrf
from gateway_proxy.browser.next_step import NextSteps
from gateway_proxy.browser.pages import Pages
from gateway_proxy.browser.sessions import BrowserSessions
from gateway_proxy.browser.signing import Signing
from gateway_proxy.console.routes import ConsoleServices, console_routes
from gateway_proxy.domain.audit import AuditEvent
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import FetchFailed
from gateway_proxy.limits.limiter import open_limiter
from gateway_proxy.oauth.client_metadata import FetchedDocument
from gateway_proxy.oauth.consent import ConsentPage
from gateway_proxy.oauth.routes import OAuthServices, oauth_routes
from gateway_proxy.oauth.signin import SignIn, SignInPage, SignOut, sign_in_routes
from gateway_proxy.oauth.vocabulary import OAuthConfig
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.telemetry.audit import AuditTrail
from tests.support.people import PUBLIC_URL, quick_hasher


class NoDocuments:
    """An egress guard without a network."""

    async def fetch_document(self, url: str, *, max_bytes: int = 65536, timeout: float = 5.0) -> FetchedDocument:
        """Refuse."""
        raise FetchFailed(url, "no network in this test")


@dataclass
class PeopleSite:
    """Builds the app, and remembers what it recorded and announced."""

    database: Database
    keyring: Keyring
    clock: Clock
    public_url: str = PUBLIC_URL
    recorded: list[AuditEvent] = field(default_factory=list)
    announced: int = 0
    app: ASGIApp = field(init=False)

    def __post_init__(self) -> None:
        self.audit = AuditTrail(self._write, self.clock)
        self.signing = Signing(self.keyring, self.clock)
        self.sessions = BrowserSessions(self.database, self.signing, self.clock, public_url=self.public_url)
        self.csrf = Csrf(self.sessions, self.signing, public_url=self.public_url)
        self.assets = Assets()
        self.pages = Pages(self.sessions, self.assets)
        self.next_steps = NextSteps(self.signing)
        self.limiter = open_limiter(None, self.clock)
        self.hasher = quick_hasher()
        self.authenticator = Authenticator(self.database, self.hasher, self.limiter, self.audit)
        self.sign_in_page = SignInPage(self.pages, self.csrf, self.next_steps)
        sign_in = SignIn(self.sign_in_page, self.sessions, self.authenticator)
        sign_out = SignOut(self.pages, self.sessions, self.csrf, self.next_steps)
        oauth, console = oauth_routes(self._oauth()), console_routes(self._console())
        self.app = Starlette(routes=[*console, *sign_in_routes(sign_in, sign_out), *oauth])

    async def events(self) -> list[str]:
        """The audit events so far, by name."""
        await self.audit.flush()
        return [entry.event for entry in self.recorded]

    async def _write(self, events: Sequence[AuditEvent]) -> None:
        self.recorded.extend(events)

    async def _announce(self) -> None:
        self.announced += 1

    def _oauth(self) -> OAuthServices:
        return OAuthServices(
            config=OAuthConfig(self.public_url),
            database=self.database,
            clock=self.clock,
            limiter=self.limiter,
            audit=self.audit,
            fetcher=NoDocuments(),
            signing=self.signing,
            sessions=self.sessions,
            csrf=self.csrf,
            pages=self.pages,
            sign_in_page=self.sign_in_page,
            consent_page=ConsentPage(self.pages, self.csrf, self.next_steps),
            announce_revocation=self._announce,
        )

    def _console(self) -> ConsoleServices:
        return ConsoleServices(
            public_url=self.public_url,
            database=self.database,
            clock=self.clock,
            limiter=self.limiter,
            audit=self.audit,
            hasher=self.hasher,
            authenticator=self.authenticator,
            signing=self.signing,
            sessions=self.sessions,
            csrf=self.csrf,
            pages=self.pages,
            assets=self.assets,
            announce_revocation=self._announce,
        )
