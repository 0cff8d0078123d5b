"""The whole authorization server on a real database, spoken to over ASGI; and an OAuth client that makes its requests.

Everything is the real thing but the clock, and the network behind metadata documents (`Documents`).
"""

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from starlette.applications import Starlette
from starlette.routing import Route

from gateway_proxy.auth.token_verifier import TokenVerifier
from gateway_proxy.browser.assets import Assets
from gateway_proxy.browser.authenticate import Authenticator
from gateway_proxy.browser.csrf import Csrf
from gateway_proxy.browser.next_step import NextSteps
from gateway_proxy.browser.pages import Pages
from gateway_proxy.browser.sessions import BrowserSessions
from gateway_proxy.browser.signing import Signing
from gateway_proxy.domain.errors import FetchFailed
from gateway_proxy.domain.tenant import Tenant, User
from gateway_proxy.edge.cors import SurfaceCors
from gateway_proxy.egress.guard import FetchedDocument
from gateway_proxy.limits.limiter import open_limiter
from gateway_proxy.oauth.consent import ConsentPage
from gateway_proxy.oauth.routes import OAuthServices, oauth_routes
from gateway_proxy.oauth.signin import SignIn, SignInPage, SignOut
from gateway_proxy.oauth.vocabulary import OAuthConfig
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.telemetry.audit import AuditTrail
from tests.support.clock import FakeClock
from tests.support.people import PUBLIC_URL, People, quick_hasher
from tests.support.visitor import Visitor

CALLBACK = "https://client.example/callback"
PASSWORD = "correct horse battery"


@dataclass
class RecordedAudit(AuditTrail):
    """An audit trail that keeps what it is told."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def record(self, event: str, *, tenant_id: str | None = None, user_id: str | None = None, **detail: object) -> None:
        self.events.append((event, {"tenant_id": tenant_id, "user_id": user_id, **detail}))

    def named(self, event: str) -> list[dict[str, Any]]:
        """The details of every event of that name."""
        return [detail for name, detail in self.events if name == event]


@dataclass
class Documents:
    """The world outside: client metadata documents by URL. Anything else cannot be fetched."""

    served: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    async def fetch_document(self, url: str, *, max_bytes: int = 65536, timeout: float = 5.0) -> FetchedDocument:
        self.fetched.append(url)
        if url not in self.served:
            raise FetchFailed(urlsplit(url).netloc, "status 403")
        return FetchedDocument(url=url, body=self.served[url], headers=self.headers)


@dataclass
class AuthorizationServer:
    """A running authorization server, with one tenant and one user who can sign in."""

    config: OAuthConfig
    database: Database
    clock: FakeClock
    audit: RecordedAudit
    documents: Documents
    people: People
    app: Any
    tenant: Tenant
    user: User
    verifier: TokenVerifier
    revocations: list[None] = field(default_factory=list)

    @asynccontextmanager
    async def open_http(self, *, address: str = "203.0.113.7") -> AsyncIterator[httpx2.AsyncClient]:
        """An HTTP client (with a cookie jar of its own) at an address of its own."""
        transport = httpx2.ASGITransport(self.app, client=(address, 40000))
        async with httpx2.AsyncClient(transport=transport, base_url=self.config.public_url) as http:
            yield http

    def visitor(self, http: httpx2.AsyncClient, *, email: str | None = None, tenant: str | None = None) -> Visitor:
        """The user with a browser."""
        return Visitor(http, email or self.user.email, PASSWORD, self.config.public_url, tenant)


@dataclass
class OAuthClient:
    """A client's side of the flow: registers, builds the authorization URL, redeems, refreshes."""

    server: AuthorizationServer
    http: httpx2.AsyncClient
    redirect_uri: str = CALLBACK
    client_id: str = ""
    client_secret: str | None = None
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        """The S256 challenge of the verifier."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()

    async def register(self, **metadata: Any) -> dict[str, Any]:
        """Register, by default as a public client with refresh tokens, and remember the id and the secret."""
        body: dict[str, Any] = {
            "client_name": "Test client",
            "redirect_uris": [self.redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        } | metadata
        response = await self.http.post("/oauth/register", json=body)
        assert response.status_code == 201, response.text
        answer: dict[str, Any] = response.json()
        self.client_id, self.client_secret = answer["client_id"], answer.get("client_secret")
        return answer

    def authorize_query(self, **changed: str | None) -> str:
        """The query of an authorization request; a changed parameter of None is left out."""
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": "mcp",
            "state": "some state",
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            "resource": f"{PUBLIC_URL}/mcp",
        }
        parameters |= changed
        return urlencode({name: value for name, value in parameters.items() if value is not None})

    async def authorize(
        self, *, decision: str = "approve", tenant: str | None = None, **changed: str | None
    ) -> dict[str, str]:
        """Let the user answer; what came back to the redirect URI."""
        visitor = self.server.visitor(self.http, tenant=tenant)
        target = await visitor.authorize(
            f"{PUBLIC_URL}/oauth/authorize?{self.authorize_query(**changed)}", decision=decision
        )
        return dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))

    async def get_code(self, **changed: Any) -> str:
        """Let the user agree; the code."""
        return (await self.authorize(**changed))["code"]

    async def ask_token(self, *, headers: Mapping[str, str] | None = None, **fields: str | None) -> httpx2.Response:
        """Post a token request with these fields; None leaves one out."""
        body = {"client_id": self.client_id, **fields}
        data = {name: value for name, value in body.items() if value is not None}
        return await self.http.post("/oauth/token", data=data, headers=dict(headers or {}))

    async def redeem(self, code: str | None, **changed: Any) -> httpx2.Response:
        """Redeem a code, correctly but for what is changed."""
        fields: dict[str, Any] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }
        return await self.ask_token(**(fields | changed))

    async def refresh(self, refresh_token: str, **changed: Any) -> httpx2.Response:
        """Refresh, correctly but for what is changed."""
        fields: dict[str, Any] = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return await self.ask_token(**(fields | changed))

    async def connect(self, **changed: Any) -> dict[str, Any]:
        """The whole flow: register unless done, agree, redeem; the token response."""
        if not self.client_id:
            await self.register()
        response = await self.redeem(await self.get_code(**changed))
        assert response.status_code == 200, response.text
        tokens: dict[str, Any] = response.json()
        return tokens


async def build_authorization_server(
    database: Database, keyring: Keyring, clock: FakeClock, **configured: Any
) -> AuthorizationServer:
    """Put the authorization server together as the composition root does, and add a tenant and a user."""
    people = People(database, clock)
    tenant = await people.tenant()
    user = await people.user(password=PASSWORD)
    await people.join(user, tenant)
    return build_worker(database, keyring, clock, tenant=tenant, user=user, **configured)


def build_worker(
    database: Database, keyring: Keyring, clock: FakeClock, *, tenant: Tenant, user: User, **configured: Any
) -> AuthorizationServer:
    """One worker of the authorization server: its own connections, cache and limits."""
    config = OAuthConfig(public_url=PUBLIC_URL, **configured)
    audit, documents, people = RecordedAudit(), Documents(), People(database, clock)
    limiter = open_limiter(None, clock)
    signing = Signing(keyring, clock)
    sessions = BrowserSessions(database, signing, clock, public_url=PUBLIC_URL)
    csrf = Csrf(sessions, signing, public_url=PUBLIC_URL)
    assets, next_steps = Assets(), NextSteps(signing)
    pages = Pages(sessions, assets)
    sign_in_page = SignInPage(pages, csrf, next_steps)
    verifier = TokenVerifier(database, clock, public_url=PUBLIC_URL)
    revocations: list[None] = []

    async def announce() -> None:
        verifier.forget_all()
        revocations.append(None)

    services = OAuthServices(
        config=config,
        database=database,
        clock=clock,
        limiter=limiter,
        audit=audit,
        fetcher=documents,
        signing=signing,
        sessions=sessions,
        csrf=csrf,
        pages=pages,
        sign_in_page=sign_in_page,
        consent_page=ConsentPage(pages, csrf, next_steps),
        announce_revocation=announce,
    )
    sign_in = SignIn(sign_in_page, sessions, Authenticator(database, quick_hasher(), limiter, audit))
    sign_out = SignOut(pages, sessions, csrf, next_steps)
    routes = [
        *oauth_routes(services),
        Route("/sign-in", sign_in.handle, methods=["GET", "POST"]),
        Route("/sign-out", sign_out.handle, methods=["POST"]),
    ]
    app = SurfaceCors(Starlette(routes=routes), public_url=PUBLIC_URL, origins=())
    return AuthorizationServer(
        config, database, clock, audit, documents, people, app, tenant, user, verifier, revocations
    )
