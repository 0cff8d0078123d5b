"""Dynamic client registration (RFC 7591): open, limited per address and over all, and it never fetches anything.

A registration that no user agrees to within a day expires. No RFC 7592 management.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.ids import new_client_id, new_secret
from gateway_proxy.domain.oauth import Client
from gateway_proxy.domain.oauth_errors import (
    BodyUnreadable,
)
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.limits.limiter import Limiter
from gateway_proxy.oauth import client_fields
from gateway_proxy.oauth.endpoint import address_of
from gateway_proxy.oauth.parameters import read_body
from gateway_proxy.oauth.vocabulary import NO_STORE, SECRET_METHODS, AuditTrail, OAuthConfig
from gateway_proxy.storage.sql.clients import add_client
from gateway_proxy.storage.sql.database import Database

JSON_OBJECT = "a JSON object"


@dataclass(frozen=True)
class Registration:
    """POST /oauth/register."""

    config: OAuthConfig
    database: Database
    clock: Clock
    limiter: Limiter
    audit: AuditTrail

    async def handle(self, request: Request) -> Response:
        """Register a client and tell it what was registered, defaults included (RFC 7591 §3.2.1).

        Raises:
            RateLimited: Too many registrations from this address, or altogether.
            BodyUnreadable: Not a JSON object.
            ClientMetadataInvalid: A field that cannot be accepted.
            RedirectUriInvalid: A redirect URI that cannot be accepted.
        """
        await self._limit(address_of(request))
        fields = read_json_object(await read_body(request), request.headers.get("content-type", ""))
        client, secret = self._client_of(fields)
        await self.database.run(add_client, client=client)
        self.audit.record("client.registered", client_id=client.id, name=client.name, address=address_of(request))
        return JSONResponse(registration_answer(client, secret), status_code=201, headers=NO_STORE)

    async def _limit(self, address: str) -> None:
        config = self.config
        await self.limiter.hit("register", address, limit=config.register_limit, window=config.limit_window)
        await self.limiter.hit("register_all", limit=config.register_limit_of_all, window=config.limit_window)

    def _client_of(self, fields: client_fields.Fields) -> tuple[Client, str | None]:
        redirect_uris = client_fields.read_redirect_uris(fields)
        method = client_fields.read_auth_method(fields, default="client_secret_basic")
        secret = new_secret("gw_cs_") if method in SECRET_METHODS else None
        now = self.clock.now()
        client = Client(
            id=new_client_id(),
            kind="registered",
            name=client_fields.read_name(fields, redirect_uris),
            redirect_uris=redirect_uris,
            grant_types=client_fields.read_grant_types(fields),
            response_types=client_fields.read_response_types(fields),
            auth_method=method,
            application_type=client_fields.read_application_type(fields, redirect_uris),
            scope=client_fields.read_scope(fields),
            client_uri=client_fields.read_client_uri(fields),
            secret_digest=None if secret is None else digest_of(secret),
            created_at=now,
            expires_at=now + timedelta(seconds=self.config.unused_client_ttl),
        )
        return client, secret


def registration_answer(client: Client, secret: str | None) -> dict[str, Any]:
    """The registration response. The secret is in it, this once, exactly when the method needs one."""
    answer: dict[str, Any] = {
        "client_id": client.id,
        "client_id_issued_at": int(client.created_at.timestamp()),
        "client_name": client.name,
        "redirect_uris": list(client.redirect_uris),
        "grant_types": list(client.grant_types),
        "response_types": list(client.response_types),
        "token_endpoint_auth_method": client.auth_method,
        "application_type": client.application_type,
    }
    if client.scope:
        answer["scope"] = client.scope
    if client.client_uri is not None:
        answer["client_uri"] = client.client_uri
    if secret is not None:
        answer |= {"client_secret": secret, "client_secret_expires_at": 0}
    return answer


def read_json_object(body: bytes, content_type: str) -> client_fields.Fields:
    """Decode a JSON object.

    Raises:
        BodyUnreadable: Another content type, not JSON, nested too deeply, or not an object.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in ("", "application/json") and not media_type.endswith("+json"):
        raise BodyUnreadable("application/json")
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BodyUnreadable(JSON_OBJECT) from None
    if not isinstance(fields, dict):
        raise BodyUnreadable(JSON_OBJECT)
    return fields
