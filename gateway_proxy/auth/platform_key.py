"""The operator's key (GATEWAY_ADMIN_API_KEY): another way through the door of the admin surface, and of no other.

The one exception to "the tenant is read from the token's row": the key has no row, so the operator names the tenant
with `?tenant=`. The principal carries the scope `admin` and nothing else, so it could call no tool even by mistake.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from gateway_proxy.auth.bearer import read_bearer
from gateway_proxy.auth.middleware import UNAVAILABLE, ErrorBody, Refusal, send_refusal
from gateway_proxy.domain.errors import AuthError, StorageUnavailable
from gateway_proxy.domain.principal import PLATFORM_USER, Principal, Scope, TokenKind
from gateway_proxy.domain.role import Role
from gateway_proxy.domain.secrets import digest_of, is_same_secret
from gateway_proxy.domain.tenant import Tenant

PARAMETER: Final = "tenant"
NAME_ONE: Final = Refusal(
    422, "tenant: required once, the slug of a tenant", "With the platform key, name the tenant: ?tenant=<slug>."
)
UNKNOWN: Final = Refusal(404, "tenant: there is none of that slug", "Unknown tenant.")
_NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)

FindTenant = Callable[[str], Awaitable[Tenant | None]]
"""Slug → tenant; raises StorageUnavailable."""


class AdmitPlatformKey:
    """Let the operator in as the administrator of the tenant that `?tenant=` names; all others go to `otherwise`.

    `find_tenant` None is for a page about the whole process: no tenant is asked for, and `app` gets no principal.
    """

    def __init__(
        self, app: ASGIApp, otherwise: ASGIApp, *, key: str, find_tenant: FindTenant | None, error_body: ErrorBody
    ) -> None:
        self._app = app
        self._otherwise = otherwise
        self._key = key
        self._find_tenant = find_tenant
        self._error_body = error_body

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._has_key(scope):
            await self._otherwise(scope, receive, send)
            return
        if self._find_tenant is not None:
            tenant = await self._named_tenant(scope["query_string"], self._find_tenant)
            if isinstance(tenant, Refusal):
                await send_refusal(tenant, self._error_body, send)
                return
            state = scope.setdefault("state", {})
            state["principal"] = self._principal(tenant)
            state["tenant"] = tenant
        await self._app(scope, receive, send)

    def _has_key(self, scope: Connection) -> bool:
        """In constant time: neither the key's characters nor its length show in how long it takes."""
        try:
            secret = read_bearer(scope["headers"])
        except AuthError:
            return False
        return is_same_secret(secret, self._key)

    async def _named_tenant(self, query: bytes, find_tenant: FindTenant) -> Tenant | Refusal:
        slugs = parse_qs(query.decode("latin-1")).get(PARAMETER, [])
        if len(slugs) != 1:
            return NAME_ONE
        try:
            tenant = await find_tenant(slugs[0]) if slugs[0].isprintable() else None
        except StorageUnavailable:
            return UNAVAILABLE
        return tenant or UNKNOWN

    def _principal(self, tenant: Tenant) -> Principal:
        return Principal(
            token_id=PLATFORM_USER,
            token_digest=digest_of(self._key),
            kind=TokenKind.PLATFORM,
            tenant_id=tenant.id,
            user_id=PLATFORM_USER,
            role=Role.OWNER,
            client_id=None,
            scopes=frozenset({Scope.ADMIN}),
            audience="",
            expires_at=_NEVER,
        )
