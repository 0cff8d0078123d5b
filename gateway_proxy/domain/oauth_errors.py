"""What can go wrong at the authorization server, by reason; the same rules as `errors`, where the root stands."""

from dataclasses import dataclass

from gateway_proxy.domain.errors import GatewayError


# --- authorization codes and tokens -------------------------------------------------------------------------------
class GrantError(GatewayError):
    """A grant, code or refresh token cannot be used; on the wire they are all invalid_grant."""


class CodeUnknown(GrantError):
    """No such code, or it expired."""


@dataclass(eq=False)
class CodeAlreadyRedeemed(GrantError):
    """The code was used before; its token family is revoked."""

    family_id: str


class CodeMismatch(GrantError):
    """The code belongs to another client or redirect URI, or the PKCE verifier does not fit."""


class RefreshTokenUnknown(GrantError):
    """No such refresh token, expired, revoked, or another client's."""


@dataclass(eq=False)
class RefreshTokenReused(GrantError):
    """A spent refresh token came back after the grace window; its family is revoked."""

    family_id: str


class MembershipEnded(GrantError):
    """The user behind the grant is disabled, or no longer a member of the tenant."""


# --- requests to the authorization server -------------------------------------------------------------------------
class OAuthError(GatewayError):
    """A request to the authorization server that is not served as asked."""


@dataclass(eq=False)
class ParameterMissing(OAuthError):
    """A required parameter is absent or empty."""

    name: str


@dataclass(eq=False)
class ParameterRepeated(OAuthError):
    """A parameter stands more than once (RFC 6749 §3.1, §3.2)."""

    name: str


@dataclass(eq=False)
class ParameterInvalid(OAuthError):
    """A parameter has a value that it may not have. `expected` is a phrase of ours."""

    name: str
    expected: str


@dataclass(eq=False)
class BodyUnreadable(OAuthError):
    """The body is not what the endpoint reads. `expected` is a phrase of ours."""

    expected: str


@dataclass(eq=False)
class BodyTooLarge(OAuthError):
    """The body is over `limit` bytes."""

    limit: int


class ClientUnauthenticated(OAuthError):
    """Unknown or expired client, wrong secret, or another method than the client is registered for."""


class ClientAuthenticationAmbiguous(OAuthError):
    """More than one way of client authentication in one request (RFC 6749 §2.3)."""


class GrantTypeUnsupported(OAuthError):
    """A grant type that this server does not have."""


class GrantTypeForbidden(OAuthError):
    """A grant type or response type that this client is not registered for."""


class ResponseTypeUnsupported(OAuthError):
    """A response type other than `code`."""


@dataclass(eq=False)
class RequestObjectUnsupported(OAuthError):
    """The `request` or `request_uri` parameter was sent (RFC 9101); it is refused and never fetched."""

    name: str


class ResourceUnknown(OAuthError):
    """The requested resource is not ours, or not the one that the grant is bound to (RFC 8707)."""


class ScopeExceeded(OAuthError):
    """The requested scope is more than what was granted."""


@dataclass(eq=False)
class ClientMetadataInvalid(OAuthError):
    """A field of a client's metadata cannot be accepted (RFC 7591 §3.2.2)."""

    name: str
    expected: str


@dataclass(eq=False)
class RedirectUriInvalid(OAuthError):
    """A redirect URI of a client's metadata cannot be accepted."""

    expected: str


class ClientUnknown(OAuthError):
    """The authorization request names no client that we know. Never redirected."""


@dataclass(eq=False)
class ClientDocumentUnusable(OAuthError):
    """A Client ID Metadata Document could not be fetched or does not fit. `fault` is a phrase of ours."""

    host: str
    fault: str


class RedirectUriUnknown(OAuthError):
    """The redirect URI is not one that the client registered. Never redirected."""


class SignInNeeded(OAuthError):
    """prompt=none, and nobody is signed in."""


class ConsentNeeded(OAuthError):
    """prompt=none, and no recorded grant covers the request."""


class ConsentDenied(OAuthError):
    """The user said no."""


class ConsentStale(OAuthError):
    """The consent form is too old, altered, or from another browser or user."""


class ConsentSpent(OAuthError):
    """The consent form was sent before; one consent gives one code."""
