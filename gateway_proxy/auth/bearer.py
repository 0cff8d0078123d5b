"""Reads the one credential of a request from its headers (RFC 6750 §2.1). Never from a query, a body or a cookie."""

from collections.abc import Collection
from typing import Final

from gateway_proxy.domain.errors import TokenMalformed, TokenMissing

MAXIMUM_LENGTH: Final = 4096
AUTHORIZATION: Final = b"authorization"


def read_bearer(headers: Collection[tuple[bytes, bytes]], *, alternates: Collection[bytes] = ()) -> str:
    """The secret that a request carries, from raw ASGI headers (lower-case names).

    `alternates` are headers whose whole value is the secret (`x-api-key`, `api-key` on /v1). Exactly one credential
    may be sent in all: with two, a proxy in front and we could each believe another one.

    Raises:
        TokenMissing: There is none, or it has another scheme than Bearer.
        TokenMalformed: There are several, it is over 4 KiB, or it holds what no token holds: RFC 6750 §2.1 allows
            b64token only; static keys of older systems may hold other visible characters.
    """
    found, name_found = _only_one(headers, alternates)
    if len(found) > MAXIMUM_LENGTH:
        raise TokenMalformed
    secret = (_after_scheme(found) if name_found == AUTHORIZATION else found.strip(b" \t")).decode("latin-1")
    if not secret:
        raise TokenMissing
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise TokenMalformed
    return secret


def _only_one(headers: Collection[tuple[bytes, bytes]], alternates: Collection[bytes]) -> tuple[bytes, bytes]:
    """The value of the credential and the header that it came in."""
    if not alternates:
        values = dict(headers)
        if len(values) == len(headers):  # none came twice, so the look-up will do
            if AUTHORIZATION not in values:
                raise TokenMissing
            return values[AUTHORIZATION], AUTHORIZATION
    found = [(value, name) for name, value in headers if name == AUTHORIZATION or name in alternates]
    if not found:
        raise TokenMissing
    if len(found) > 1:
        raise TokenMalformed
    return found[0]


def _after_scheme(value: bytes) -> bytes:
    """What follows `Bearer` (any case, RFC 9110 §11.1) and its spaces; empty when there is nothing."""
    scheme, _, rest = value.partition(b" ")
    if scheme.lower() != b"bearer":
        raise TokenMissing
    return rest.strip(b" \t")
