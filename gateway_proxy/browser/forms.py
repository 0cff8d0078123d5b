"""Reads the forms that our pages post: urlencoded only, bounded. Multipart may never be parsed here."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from gateway_proxy.domain.errors import FormInvalid

MAXIMUM_BYTES: Final = 64 * 1024
MAXIMUM_FIELDS: Final = 100
BODY_SECONDS: Final = 30.0
CONTENT_TYPE: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a posted form. A field that should stand once and stands twice is refused when it is read."""

    fields: Mapping[str, Sequence[str]]

    def get(self, name: str) -> str:
        """The field's value; empty when it was not sent.

        Raises:
            FormInvalid: It was sent more than once.
        """
        values = self.fields.get(name, ())
        if len(values) > 1:
            raise FormInvalid(name, "was sent more than once")
        return values[0] if values else ""

    def get_all(self, name: str) -> tuple[str, ...]:
        """Every value of the field (checkboxes)."""
        return tuple(self.fields.get(name, ()))


async def read_form(request: Request) -> Form:
    """The form in the request's body, up to 64 KiB.

    Raises:
        FormInvalid: Another content type, too large, too slow, not UTF-8, a NUL, or too many fields.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != CONTENT_TYPE:
        raise FormInvalid("Content-Type", f"must be {CONTENT_TYPE}")
    body = await _read_body(request)
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAXIMUM_FIELDS)
    except ValueError:  # UnicodeError is one
        raise FormInvalid("body", "could not be read as a form") from None
    if any("\0" in text for pair in pairs for text in pair):  # PostgreSQL has no such text
        raise FormInvalid("body", "holds a NUL character")
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return Form(fields)


async def _read_body(request: Request) -> bytes:
    chunks = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                chunks += chunk
                if len(chunks) > MAXIMUM_BYTES:
                    raise FormInvalid("body", f"is larger than {MAXIMUM_BYTES} bytes")
    except TimeoutError:
        raise FormInvalid("body", f"did not arrive within {BODY_SECONDS:g} seconds") from None
    except ClientDisconnect:
        raise FormInvalid("body", "ended early") from None
    return bytes(chunks)
