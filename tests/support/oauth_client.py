"""An OAuth client by hand: registration, PKCE, authorization through a visitor, token requests. No SDK."""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from tests.support.visitor import Visitor

REDIRECT = "http://127.0.0.1:49160/callback"


@dataclass
class OAuthClient:
    """One registered client. `token` posts to the token endpoint of any replica, `authorize` returns a code."""

    http: httpx2.AsyncClient
    origin: str
    client_id: str = ""
    verifier: str = ""

    async def register(self) -> None:
        """RFC 7591, as a public client."""
        body = {
            "client_name": "By hand",
            "redirect_uris": [REDIRECT],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        }
        response = await self.http.post(f"{self.origin}/oauth/register", json=body)
        assert response.status_code == 201, response.text
        self.client_id = response.json()["client_id"]

    async def authorize(self, visitor: Visitor, **extra: str) -> str:
        """Have the visitor approve; the authorization code."""
        self.verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "state": "s-1",
            "resource": f"{self.origin}/mcp",
        } | extra
        callback = await visitor.authorize(f"{self.origin}/oauth/authorize?{urlencode(query)}")
        return parse_qs(urlsplit(callback).query)["code"][0]

    async def redeem(self, code: str, *, at: str | None = None) -> httpx2.Response:
        """authorization_code."""
        return await self._token(
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": REDIRECT,
                "code_verifier": self.verifier,
            },
            at,
        )

    async def refresh(self, refresh_token: str, *, at: str | None = None) -> httpx2.Response:
        """refresh_token."""
        return await self._token({"grant_type": "refresh_token", "refresh_token": refresh_token}, at)

    async def _token(self, form: dict[str, str], at: str | None) -> httpx2.Response:
        return await self.http.post(f"{at or self.origin}/oauth/token", data=form | {"client_id": self.client_id})

    async def is_accepted(self, access_token: str) -> bool:
        """Whether /mcp takes the token."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json, text/event-stream"}
        response = await self.http.post(f"{self.origin}/mcp", json=message, headers=headers)
        assert response.status_code in (200, 401), response.text
        return response.status_code == 200
