"""Reads the one credential of a request from its headers (RFC 6750 §2.1). Never from a query, a body or a cookie."""

import re
from collections.abc import Collection, Iterable
from typing import Final

from gateway_proxy.domain.errors import TokenMalformed, TokenMissing

MAXIMUM_LENGTH: Final = 4096
AUTHORIZATION: Final = b"authorization"
# RFC 6750 §2.1 allows b64token only; static keys of older systems may hold other visible characters.
VISIBLE: Final = re.compile(rb"[\x21-\x7e]+")


def read_bearer(headers: Iterable[tuple[bytes, bytes]], *, alternates: Collection[bytes] = ()) -> str:
    """The secret that a request carries, from raw ASGI headers (lower-case names).

    `alternates` are headers whose whole value is the secret (`x-api-key`, `api-key` on /v1). Exactly one credential
    may be sent in all: with two, a proxy in front and we could each believe another one.

    Raises:
        TokenMissing: There is none, or it has another scheme than Bearer.
        TokenMalformed: There are several, it is over 4 KiB, or it holds what no token holds.
    """
    found: bytes | None = None
    name_found = AUTHORIZATION
    for name, value in headers:
        if name == AUTHORIZATION or name in alternates:
            if found is not None:
                raise TokenMalformed
            found, name_found = value, name
    if found is None:
        raise TokenMissing
    if len(found) > MAXIMUM_LENGTH:
        raise TokenMalformed
    secret = _after_scheme(found) if name_found == AUTHORIZATION else found.strip(b" \t")
    if not secret:
        raise TokenMissing
    if VISIBLE.fullmatch(secret) is None:
        raise TokenMalformed
    return secret.decode("ascii")


def _after_scheme(value: bytes) -> bytes:
    """What follows `Bearer` (any case, RFC 9110 §11.1) and its spaces; empty when there is nothing."""
    scheme, _, rest = value.partition(b" ")
    if scheme.lower() != b"bearer":
        raise TokenMissing
    return rest.strip(b" \t")
