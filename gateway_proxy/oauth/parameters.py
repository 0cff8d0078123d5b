"""Reading `application/x-www-form-urlencoded` as strictly as OAuth wants it, from a body or a query string.

The bytes are decoded here and nowhere else: UTF-8 only, no NUL, bounded, and a parameter that stands twice is noted.
No multipart (security: incidents 25 and 26) and no meaning of any parameter.
"""

import asyncio
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from starlette.requests import ClientDisconnect, Request

from gateway_proxy.domain.oauth_errors import (
    BodyTooLarge,
    BodyUnreadable,
    ParameterMissing,
    ParameterRepeated,
    ResourceUnknown,
)
from gateway_proxy.oauth.vocabulary import BODY_LIMIT, QUERY_LIMIT

MAXIMUM_FIELDS: Final = 64
BODY_SECONDS: Final = 30.0
FORM: Final = "application/x-www-form-urlencoded"
REPEATABLE: Final = frozenset({"resource"})  # identical ones count as one


@dataclass(frozen=True, slots=True)
class Parameters:
    """Decoded parameters. A parameter without a value counts as absent (RFC 6749 §3.1)."""

    values: Mapping[str, str]
    repeated: frozenset[str] = frozenset()

    def find(self, name: str) -> str | None:
        """The value, or None when absent or empty."""
        return self.values.get(name) or None

    def get(self, name: str) -> str:
        """The value.

        Raises:
            ParameterMissing: It is absent or empty.
        """
        value = self.find(name)
        if value is None:
            raise ParameterMissing(name)
        return value

    def verify_none_repeated(self) -> None:
        """Refuse repeated parameters (RFC 6749 §3.2). Several different resources are more than we can grant.

        Raises:
            ParameterRepeated: Naming the first of them.
            ResourceUnknown: `resource` stands there with different values (RFC 8707 §2).
        """
        for name in sorted(self.repeated - REPEATABLE):
            raise ParameterRepeated(name)
        if self.repeated:
            raise ResourceUnknown


def read_parameters(encoded: bytes) -> Parameters:
    """Decode a form body or a query string.

    Raises:
        BodyUnreadable: Not UTF-8, a NUL, or more than 64 fields.
    """
    pairs = [part for part in encoded.split(b"&") if part]
    if len(pairs) > MAXIMUM_FIELDS:
        raise BodyUnreadable(f"at most {MAXIMUM_FIELDS} parameters")
    values: dict[str, str] = {}
    repeated: set[str] = set()
    for pair in pairs:
        raw_name, _, raw_value = pair.partition(b"=")
        name, value = _decode(raw_name), _decode(raw_value)
        if name in values and not (name in REPEATABLE and values[name] == value):
            repeated.add(name)
        values.setdefault(name, value)
    return Parameters(values, frozenset(repeated))


def read_query(request: Request) -> str:
    """A request's query string, byte for byte, in ASCII: stray bytes beyond it are percent-encoded as they are.

    Raises:
        BodyUnreadable: Over 16 KiB; it has to fit into the forms that carry it on.
    """
    raw: bytes = request.scope["query_string"]
    if len(raw) > QUERY_LIMIT:
        raise BodyUnreadable(f"a query of at most {QUERY_LIMIT} bytes")
    return quote(raw, safe=string.punctuation)


async def read_body(request: Request, *, limit: int = BODY_LIMIT) -> bytes:
    """Read a request's body, as long as it is not encoded, not too large and not too slow.

    Raises:
        BodyTooLarge: Over `limit` bytes, whatever Content-Length says.
        BodyUnreadable: A Content-Encoding, or the body did not arrive within 30 s.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise BodyUnreadable("a body without Content-Encoding")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise BodyTooLarge(limit)
    except (TimeoutError, ClientDisconnect):
        raise BodyUnreadable("a body that arrives whole within 30 seconds") from None
    return bytes(body)


async def read_form(request: Request) -> Parameters:
    """Read a form body of at most 64 KiB. Repeated parameters are refused.

    Raises:
        BodyUnreadable: Another content type (multipart included), bad UTF-8, a NUL, too many fields.
        BodyTooLarge: Over the limit.
        ParameterRepeated: A parameter stands twice.
        ResourceUnknown: Different resources.
    """
    media_type, _, attributes = request.headers.get("content-type", "").partition(";")
    charset = attributes.strip().lower().replace(" ", "").replace('"', "")
    if media_type.strip().lower() != FORM or charset not in ("", "charset=utf-8"):
        raise BodyUnreadable(FORM)
    parameters = read_parameters(await read_body(request))
    parameters.verify_none_repeated()
    return parameters


def _decode(raw: bytes) -> str:
    try:
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise BodyUnreadable("parameters in UTF-8") from None
    if "\0" in text:
        raise BodyUnreadable("parameters without NUL characters")
    return text
