"""The routes of the authorization server, and what their handlers are made of. Start reading here.

Discovery is in `metadata` and `protected_resource`, clients come in by `registration` or `client_metadata`, people by
`authorize` (with `signin` and `consent`), tokens are got at `token`, ended at `revocation`, asked about at
`introspection`. CORS is the edge's.
"""

from dataclasses import dataclass

from starlette.routing import Route

from gateway_proxy.browser.csrf import Csrf
from gateway_proxy.browser.pages import Pages
from gateway_proxy.browser.sessions import BrowserSessions
from gateway_proxy.browser.signing import Signing
from gateway_proxy.domain.clock import Clock
from gateway_proxy.limits.limiter import Limiter
from gateway_proxy.oauth.authorization_request import AuthorizationRequests
from gateway_proxy.oauth.authorize import Authorize
from gateway_proxy.oauth.client_metadata import ClientMetadataDocuments, DocumentFetcher
from gateway_proxy.oauth.consent import ConsentPage
from gateway_proxy.oauth.consent_transaction import ConsentTransactions
from gateway_proxy.oauth.endpoint import GET, POST, Handle, JsonEndpoint
from gateway_proxy.oauth.introspection import Introspection
from gateway_proxy.oauth.known_clients import KnownClients
from gateway_proxy.oauth.metadata import ServerMetadata, WellKnownUnknown
from gateway_proxy.oauth.protected_resource import ProtectedResource
from gateway_proxy.oauth.registration import Registration
from gateway_proxy.oauth.revocation import Revocation
from gateway_proxy.oauth.signin import SignInPage
from gateway_proxy.oauth.token import Token
from gateway_proxy.oauth.vocabulary import (
    AUTHORIZE_PATH,
    INTROSPECT_PATH,
    REGISTER_PATH,
    REVOKE_PATH,
    TOKEN_PATH,
    AnnounceRevocation,
    AuditTrail,
    OAuthConfig,
)
from gateway_proxy.storage.sql.database import Database

SERVER_METADATA_PATHS = (
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/mcp",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/mcp",
)
RESOURCE_NAMES = ("mcp", "sse", "v1")
"""A client holds the metadata's `resource` against the URL that it was given, so each entrance has its own."""


@dataclass(frozen=True)
class OAuthServices:
    """What the authorization server is given by the composition root."""

    config: OAuthConfig
    database: Database
    clock: Clock
    limiter: Limiter
    audit: AuditTrail
    fetcher: DocumentFetcher
    signing: Signing
    sessions: BrowserSessions
    csrf: Csrf
    pages: Pages
    sign_in_page: SignInPage
    consent_page: ConsentPage
    announce_revocation: AnnounceRevocation


def oauth_routes(services: OAuthServices) -> list[Route]:
    """All routes of the authorization server but the sign-in page's own. The well-known catch-all is the last."""
    return [*_discovery_routes(services), *_client_routes(services), *_browser_routes(services)]


def _discovery_routes(services: OAuthServices) -> list[Route]:
    config = services.config
    own = {f"/.well-known/oauth-protected-resource/{name}": f"{config.public_url}/{name}" for name in RESOURCE_NAMES}
    resources = {"/.well-known/oauth-protected-resource": config.default_resource, **own}
    metadata = ServerMetadata(config)
    return [
        *(_json_route(path, metadata.handle, GET) for path in SERVER_METADATA_PATHS),
        *(_json_route(path, ProtectedResource(config, name).handle, GET) for path, name in resources.items()),
        _json_route("/.well-known/{rest:path}", WellKnownUnknown().handle, ("GET", "HEAD", "POST", "PUT", "DELETE")),
    ]


def _client_routes(services: OAuthServices) -> list[Route]:
    config, database, clock = services.config, services.database, services.clock
    limiter, audit, announce = services.limiter, services.audit, services.announce_revocation
    registration = Registration(config, database, clock, limiter, audit)
    token = Token(config, database, clock, limiter, audit, announce)
    revocation = Revocation(config, database, clock, audit, announce)
    return [
        *(_json_route(path, registration.handle, POST) for path in (REGISTER_PATH, "/register")),
        *(_json_route(path, token.handle, POST) for path in (TOKEN_PATH, "/token")),
        _json_route(REVOKE_PATH, revocation.handle, POST),
        _json_route(INTROSPECT_PATH, Introspection(config, database, clock).handle, POST),
    ]


def _browser_routes(services: OAuthServices) -> list[Route]:
    config = services.config
    documents = ClientMetadataDocuments(config, services.fetcher, services.clock, services.limiter)
    clients = KnownClients(services.database, documents, services.clock)
    authorize = Authorize(
        config=config,
        database=services.database,
        clock=services.clock,
        limiter=services.limiter,
        audit=services.audit,
        requests=AuthorizationRequests(config, clients),
        transactions=ConsentTransactions(services.signing, config.transaction_ttl),
        sessions=services.sessions,
        csrf=services.csrf,
        pages=services.pages,
        sign_in_page=services.sign_in_page,
        consent_page=services.consent_page,
    )
    return [_json_route(path, authorize.handle, ("GET", "POST")) for path in (AUTHORIZE_PATH, "/authorize")]


def _json_route(path: str, handle: Handle, methods: tuple[str, ...]) -> Route:
    return Route(path, JsonEndpoint(handle, methods))
