"""Building the answer that goes back to a client by way of the browser (RFC 6749 §4.1.2, RFC 9207). No decisions."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlencode

from starlette.responses import Response

from gateway_proxy.oauth.vocabulary import NO_STORE

HEADERS: Final = {**NO_STORE, "Referrer-Policy": "no-referrer"}


def redirect_back(redirect_uri: str, fields: Sequence[tuple[str, str | None]], *, issuer: str) -> Response:
    """A 303 to a validated redirect URI with `fields` and `iss` appended.

    303 and never 307: the form that was posted to us must not be posted on (RFC 9700 §4.12).
    """
    location = answer_uri(redirect_uri, fields, issuer=issuer)
    return Response(status_code=303, headers={**HEADERS, "Location": location})


def answer_uri(redirect_uri: str, fields: Sequence[tuple[str, str | None]], *, issuer: str) -> str:
    """`redirect_uri` with `fields` and `iss` appended; what it holds already is not touched."""
    present = [(name, value) for name, value in fields if value is not None]
    query = urlencode([*present, ("iss", issuer)], quote_via=quote, safe="")
    joint = "&" if "?" in redirect_uri else "?"
    if redirect_uri.endswith(("?", "&")):
        joint = ""
    return redirect_uri + joint + query
