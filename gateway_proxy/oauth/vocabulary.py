"""The words and numbers of the authorization server: its configuration, resources, scopes and limits. No behaviour."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gateway_proxy.domain.principal import Scope

SUPPORTED_SCOPES: Final = (Scope.MCP, Scope.OPENAI, Scope.OFFLINE_ACCESS)  # `admin` is not obtainable by any client
GRANT_TYPES: Final = ("authorization_code", "refresh_token")
AUTH_METHODS: Final = ("none", "client_secret_post", "client_secret_basic")
SECRET_METHODS: Final = ("client_secret_post", "client_secret_basic")

BODY_LIMIT: Final = 65536  # bytes of any request body here
QUERY_LIMIT: Final = 16384  # bytes of an authorization request's query
STATE_LIMIT: Final = 4096  # bytes of `state`
CONSENT_PURPOSE: Final = "consent"  # of the CSRF token on the consent form

AUTHORIZE_PATH: Final = "/oauth/authorize"
TOKEN_PATH: Final = "/oauth/token"  # noqa: S105 - a path
REGISTER_PATH: Final = "/oauth/register"
REVOKE_PATH: Final = "/oauth/revoke"
INTROSPECT_PATH: Final = "/oauth/introspect"
NO_STORE: Final[Mapping[str, str]] = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@dataclass(frozen=True, slots=True)
class OAuthConfig:
    """What an operator decides. Durations are seconds; limits are requests per `limit_window` and address."""

    public_url: str
    access_ttl: float = 3600
    refresh_ttl: float = 30 * 86400
    refresh_grace: float = 30
    code_ttl: float = 60
    transaction_ttl: float = 600
    unused_client_ttl: float = 86400
    limit_window: float = 60
    register_limit: int = 60
    register_limit_of_all: int = 600
    authorize_limit: int = 240
    document_fetch_limit: int = 30
    token_failure_limit: int = 300

    @property
    def issuer(self) -> str:
        """The issuer identifier, byte for byte the public URL (RFC 8414 §2)."""
        return self.public_url

    @property
    def resources(self) -> Mapping[str, Scope]:
        """Our resource identifiers (RFC 8707), each with the scope that is granted when none is asked."""
        return {
            self.public_url + "/mcp": Scope.MCP,
            self.public_url + "/sse": Scope.MCP,
            self.public_url + "/v1": Scope.OPENAI,
            self.public_url: Scope.MCP,
        }

    @property
    def default_resource(self) -> str:
        """The resource of a request that names none."""
        return self.public_url + "/mcp"


class AuditTrail(Protocol):
    """Where security events go; `telemetry.audit` has the real one. Never waits, never fails."""

    def record(
        self, event: str, *, tenant_id: str | None = None, user_id: str | None = None, **detail: str | int | None
    ) -> None:
        """Note that `event` happened."""


AnnounceRevocation = Callable[[], Awaitable[None]]
"""Called after tokens were revoked and committed, so that whoever caches verified tokens forgets them."""
