"""Reason → wire: the one table from what went wrong to RFC 6749 §5.2 (and §4.1.2.1) codes, and to pages.

Descriptions are ours, ASCII, and never tell an unknown code or token from an expired or a foreign one. No handler
chooses a status code itself.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.responses import JSONResponse

from gateway_proxy.domain import errors
from gateway_proxy.domain import oauth_errors as reasons
from gateway_proxy.domain.errors import GatewayError
from gateway_proxy.oauth.vocabulary import NO_STORE

RETRY_SECONDS: Final = 5
BASIC_CHALLENGE: Final = 'Basic realm="gateway", charset="UTF-8"'
INVALID_GRANT: Final = "The code or token is invalid, expired, revoked, or was issued to another client."


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as it leaves: status, RFC 6749 code, one ASCII sentence, extra headers."""

    status: int
    error: str
    description: str
    headers: Mapping[str, str] = field(default_factory=dict)


def _invalid_request(describe: Callable[[Any], str]) -> Callable[[Any], WireError]:
    return lambda reason: WireError(400, "invalid_request", describe(reason))


def _fixed(status: int, error: str, description: str, **headers: str) -> Callable[[Any], WireError]:
    wire = WireError(status, error, description, {name.replace("_", "-"): text for name, text in headers.items()})
    return lambda _: wire


def _too_many(reason: errors.RateLimited) -> WireError:
    seconds = max(1, math.ceil(reason.retry_after))
    headers = {"Retry-After": str(seconds)}
    return WireError(429, "temporarily_unavailable", f"Too many requests. Try again in {seconds} seconds.", headers)


_invalid_grant: Final = _fixed(400, "invalid_grant", INVALID_GRANT)

WIRE: Final[Mapping[type[GatewayError], Callable[[Any], WireError]]] = {
    reasons.ParameterMissing: _invalid_request(lambda e: f"The parameter '{e.name}' is required."),
    reasons.ParameterRepeated: _invalid_request(lambda e: f"The parameter '{e.name}' may stand only once."),
    reasons.ParameterInvalid: _invalid_request(lambda e: f"The parameter '{e.name}' must be {e.expected}."),
    reasons.BodyUnreadable: _invalid_request(lambda e: f"The request could not be read; expected {e.expected}."),
    reasons.BodyTooLarge: lambda e: WireError(413, "invalid_request", f"The body is over {e.limit} bytes."),
    reasons.ClientAuthenticationAmbiguous: _fixed(
        400, "invalid_request", "Use exactly one way of client authentication."
    ),
    reasons.ClientUnauthenticated: _fixed(
        401,
        "invalid_client",
        "The client is unknown, or did not authenticate the way it is registered.",
        WWW_Authenticate=BASIC_CHALLENGE,
    ),
    reasons.ClientUnknown: _fixed(
        401, "invalid_client", "The client is not registered here.", WWW_Authenticate=BASIC_CHALLENGE
    ),
    reasons.ClientDocumentUnusable: lambda e: WireError(
        401,
        "invalid_client",
        f"The client's metadata document cannot be used: {e.fault}.",
        {"WWW-Authenticate": BASIC_CHALLENGE},
    ),
    reasons.RedirectUriUnknown: _fixed(
        400, "invalid_request", "The parameter 'redirect_uri' must be one that the client registered."
    ),
    reasons.GrantTypeUnsupported: _fixed(
        400, "unsupported_grant_type", "The parameter 'grant_type' must be authorization_code or refresh_token."
    ),
    reasons.GrantTypeForbidden: _fixed(400, "unauthorized_client", "The client is not registered for this."),
    reasons.ResponseTypeUnsupported: _fixed(
        400, "unsupported_response_type", "The parameter 'response_type' must be code."
    ),
    reasons.RequestObjectUnsupported: lambda e: WireError(
        400, f"{e.name}_not_supported", f"The parameter '{e.name}' is not supported."
    ),
    reasons.ResourceUnknown: _fixed(
        400, "invalid_target", "The parameter 'resource' must be this server's, and the one that was granted."
    ),
    reasons.ScopeExceeded: _fixed(400, "invalid_scope", "The requested scope exceeds what was granted."),
    reasons.ClientMetadataInvalid: lambda e: WireError(
        400, "invalid_client_metadata", f"The field '{e.name}' must be {e.expected}."
    ),
    reasons.RedirectUriInvalid: lambda e: WireError(
        400, "invalid_redirect_uri", f"Each of 'redirect_uris' must be {e.expected}."
    ),
    reasons.SignInNeeded: _fixed(400, "login_required", "Nobody is signed in."),
    reasons.ConsentNeeded: _fixed(400, "consent_required", "The user has not agreed to this yet."),
    reasons.ConsentDenied: _fixed(400, "access_denied", "The user denied the request."),
    reasons.ConsentStale: _fixed(400, "invalid_request", "The consent form has expired or is not yours."),
    reasons.ConsentSpent: _fixed(400, "invalid_request", "The consent form was sent before."),
    reasons.CodeUnknown: _invalid_grant,
    reasons.CodeAlreadyRedeemed: _invalid_grant,
    reasons.CodeMismatch: _invalid_grant,
    reasons.RefreshTokenUnknown: _invalid_grant,
    reasons.RefreshTokenReused: _invalid_grant,
    reasons.MembershipEnded: _invalid_grant,
    errors.RateLimited: _too_many,
    errors.StorageUnavailable: _fixed(
        503,
        "temporarily_unavailable",
        "The server cannot reach its storage. Try again.",
        Retry_After=str(RETRY_SECONDS),
    ),
}


def to_wire(reason: GatewayError) -> WireError:
    """The wire form of a reason. A reason without a row is a fault of ours: it goes on to the outer boundary.

    Raises:
        GatewayError: The reason itself, when the table has no row for it.
    """
    build = WIRE.get(type(reason))
    if build is None:
        raise reason
    wire = build(reason)
    return WireError(wire.status, wire.error, ascii_sentence(wire.description), wire.headers)


def ascii_sentence(text: str) -> str:
    """Keep to the characters of RFC 6749 §5.2 (%x20-21 / %x23-5B / %x5D-7E), at most 200 of them."""
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "?" for char in text[:200])


def error_response(reason: GatewayError) -> JSONResponse:
    """An RFC 6749 §5.2 error response."""
    wire = to_wire(reason)
    body = {"error": wire.error, "error_description": wire.description}
    return JSONResponse(body, status_code=wire.status, headers={**NO_STORE, **wire.headers})
