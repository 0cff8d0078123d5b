"""Client authentication at the token, revocation and introspection endpoints (RFC 6749 §2.3, §3.2.1).

Exactly the method a client is registered for. Secrets are compared by digest in constant time; every failure is the
same refusal.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from sqlalchemy.orm import Session
from starlette.datastructures import Headers

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.oauth import AuthMethod, Client
from gateway_proxy.domain.oauth_errors import (
    ClientAuthenticationAmbiguous,
    ClientUnauthenticated,
    ParameterInvalid,
)
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.oauth.parameters import Parameters
from gateway_proxy.storage.sql.clients import find_client

MAXIMUM_HEADER: Final = 4096
MAXIMUM_SECRET: Final = 256


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What a client presented, and by which method."""

    client_id: str
    method: AuthMethod
    secret: str | None = field(default=None, repr=False)


def read_credentials(headers: Headers, form: Parameters) -> ClientCredentials:
    """Find the one way in which the client authenticates in this request.

    Raises:
        ClientAuthenticationAmbiguous: Several ways at once, or several Authorization headers.
        ClientUnauthenticated: No client id, another scheme than Basic, or a client assertion.
        ParameterInvalid: `client_id` in the body contradicts the one in the header.
    """
    authorization = headers.getlist("authorization")
    secret = form.find("client_secret")
    if len(authorization) > 1 or (authorization and secret is not None):
        raise ClientAuthenticationAmbiguous
    if form.find("client_assertion") is not None:
        raise ClientUnauthenticated
    if authorization:
        return _read_basic(authorization[0], form)
    client_id = form.find("client_id")
    if client_id is None:
        raise ClientUnauthenticated
    return ClientCredentials(client_id, "none" if secret is None else "client_secret_post", secret)


def verify_client(session: Session, *, credentials: ClientCredentials, clock: Clock) -> Client:
    """The client behind the credentials.

    Raises:
        ClientUnauthenticated: Unknown or expired client, another method than registered, or a wrong secret.
    """
    client = find_client(session, client_id=credentials.client_id, now=clock.now())
    expected = b"\0" * 32 if client is None or client.secret_digest is None else client.secret_digest
    given = digest_of((credentials.secret or "")[:MAXIMUM_SECRET])
    is_same = hmac.compare_digest(given, expected)
    if client is None or credentials.method != client.auth_method:
        raise ClientUnauthenticated
    if client.auth_method != "none" and not is_same:
        raise ClientUnauthenticated
    return client


def _read_basic(header: str, form: Parameters) -> ClientCredentials:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic" or len(header) > MAXIMUM_HEADER:
        raise ClientUnauthenticated
    try:
        pair = base64.b64decode(encoded.strip(), validate=True)
        raw_id, colon, raw_secret = pair.partition(b":")
        client_id, secret = _form_decoded(raw_id), _form_decoded(raw_secret)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise ClientUnauthenticated from None
    if not colon or not client_id or "\0" in client_id:
        raise ClientUnauthenticated
    named = form.find("client_id")
    if named is not None and named != client_id:
        raise ParameterInvalid("client_id", "the one in the Authorization header, or absent")
    return ClientCredentials(client_id, "client_secret_basic", secret)


def _form_decoded(raw: bytes) -> str:
    """Both halves are form-urlencoded before they are joined (RFC 6749 §2.3.1)."""
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "strict")
