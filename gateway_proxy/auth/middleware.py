"""The door of a protected surface: 401 and 403 before anything else of the request is looked at. Pure ASGI.

What a principal may do inside the surface is not decided here.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final, Protocol

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from gateway_proxy.auth.token_verifier import VerifiedToken
from gateway_proxy.domain.errors import RateLimited, StorageUnavailable, TokenInvalid, TokenMalformed, TokenMissing
from gateway_proxy.domain.principal import Principal, Scope
from gateway_proxy.domain.tenant import Tenant

RETRY_AFTER_SECONDS: Final = 2

ErrorBody = Callable[[int, str, str], tuple[bytes, str]]
"""(HTTP status, code, message) → (body, content type), in the words of the surface."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What `WWW-Authenticate` says (RFC 6750 §3, RFC 9728 §5.1): where to learn how to get a token, and for what.

    `resource_metadata` is an absolute URL, or None for a surface whose tokens no client can ask for (admin).
    """

    scope: str
    resource_metadata: str | None = None

    def header(self, error: str | None = None, description: str | None = None) -> bytes:
        """The header's value. `error` only when a token was sent, `description` in visible ASCII without quotes."""
        parameters = {
            "error": error,
            "error_description": description,
            "resource_metadata": self.resource_metadata,
            "scope": self.scope,
        }
        named = ", ".join(f'{name}="{value}"' for name, value in parameters.items() if value is not None)
        return f"Bearer {named}".encode("ascii")


@dataclass(frozen=True, slots=True)
class Refusal:
    """One way in which the door stays shut. `error` is the RFC 6750 word, None when no token was sent.

    `retry_after` in seconds is for what is not about the token.
    """

    status: int
    code: str
    message: str
    error: str | None = None
    retry_after: int | None = None


MISSING: Final = Refusal(401, "unauthorized", "Unauthorized: send a bearer token in the Authorization header")
MALFORMED: Final = Refusal(
    401, "invalid_token", "Unauthorized: send exactly one bearer token of at most 4096 characters", "invalid_token"
)
INVALID: Final = Refusal(
    401, "invalid_token", "Unauthorized: the token is unknown, expired or revoked", "invalid_token"
)
UNAVAILABLE: Final = Refusal(
    503,
    "storage_unavailable",
    "The token cannot be checked at the moment; try again shortly",
    retry_after=RETRY_AFTER_SECONDS,
)
LIMITED: Final = Refusal(429, "rate_limit_exceeded", "Too many unknown keys came from this address; try again later")


class Verifier(Protocol):
    """Who finds out who sent a request: `TokenVerifier`, or on /v1 `KeyChain`."""

    def recall(
        self, headers: Collection[tuple[bytes, bytes]], *, alternates: Collection[bytes]
    ) -> VerifiedToken | None:
        """The caller, if `verify_request` would say so without waiting for anything; None decides nothing."""

    async def verify_request(
        self, headers: Collection[tuple[bytes, bytes]], *, alternates: Collection[bytes], address: str | None
    ) -> VerifiedToken:
        """The caller behind the one credential in raw ASGI headers; `address` is where the request came from.

        Raises:
            TokenMissing, TokenMalformed, TokenInvalid: Nobody.
            RateLimited: Too many tries came from there.
            StorageUnavailable: It cannot be told at the moment.
        """


class RequireScope:
    """Let a request through when its token is good and carries `scope`; then `state` has `principal` and `tenant`."""

    def __init__(
        self,
        app: ASGIApp,
        verifier: Verifier,
        scope: Scope,
        challenge: Challenge,
        error_body: ErrorBody,
        *,
        alternates: Collection[bytes] = (),
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._scope = scope
        self._challenge = challenge
        self._error_body = error_body
        self._alternates = frozenset(alternates)
        self._insufficient = Refusal(
            403, "insufficient_scope", f"The token lacks the scope {scope.value}", "insufficient_scope"
        )

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":  # no surface speaks it
            await send({"type": "websocket.close", "code": 1008})
            return
        known = self._verifier.recall(scope["headers"], alternates=self._alternates)
        outcome = known if known is not None and self._scope in known.principal.scopes else await self._judge(scope)
        if isinstance(outcome, Refusal):
            await send_refusal(outcome, self._error_body, send, self._challenge)
            return
        state = scope.setdefault("state", {})
        state["principal"] = outcome.principal
        state["tenant"] = outcome.tenant
        await self._app(scope, receive, send)

    async def _judge(self, scope: Connection) -> VerifiedToken | Refusal:
        try:
            verified = await self._verifier.verify_request(
                scope["headers"], alternates=self._alternates, address=address_of(scope)
            )
        except TokenMissing:
            return MISSING
        except TokenMalformed:
            return MALFORMED
        except TokenInvalid:
            return INVALID
        except RateLimited as limited:
            return replace(LIMITED, retry_after=max(1, math.ceil(limited.retry_after)))
        except StorageUnavailable:
            return UNAVAILABLE
        return verified if self._scope in verified.principal.scopes else self._insufficient


async def send_refusal(refusal: Refusal, error_body: ErrorBody, send: Send, challenge: Challenge | None = None) -> None:
    """Answer with a refusal in the words of the surface; with a `challenge` when it is about the token."""
    body, content_type = error_body(refusal.status, refusal.code, refusal.message)
    headers = [
        (b"content-type", content_type.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"cache-control", b"no-store"),
    ]
    if refusal.retry_after is not None:
        headers.append((b"retry-after", str(refusal.retry_after).encode("ascii")))
    elif challenge is not None:
        described = refusal.message.removeprefix("Unauthorized: ") if refusal.error else None
        headers.append((b"www-authenticate", challenge.header(refusal.error, described)))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def address_of(scope: Connection) -> str | None:
    """Where a request came from. Proxy headers were resolved before, or not trusted."""
    client = scope.get("client")
    return None if client is None else str(client[0])


def get_principal(scope: Connection) -> Principal:
    """The verified caller of a request that came through `RequireScope`; a KeyError is a route mounted wrongly."""
    principal: Principal = scope["state"]["principal"]
    return principal


def get_tenant(scope: Connection) -> Tenant:
    """The tenant of the token's row; a KeyError is a route mounted wrongly."""
    tenant: Tenant = scope["state"]["tenant"]
    return tenant
