"""The headers of every page: no script, no frame, no foreign resource, and the one place that forms may lead to."""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

HOST_SOURCE: Final = re.compile(r"[a-z0-9.-]+(:[0-9]{1,5})?")
SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")

# Chromium applies form-action to every hop of a redirect chain, also to those of the client's own pages. Claude's
# callback goes on to its other domain, or to its desktop app.
CLAUDE: Final = ("https://claude.ai", "https://claude.com", "claude:")
FURTHER_HOPS: Final[Mapping[str, Sequence[str]]] = {"claude.ai": CLAUDE, "claude.com": CLAUDE}

PAGE_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), publickey-credentials-get=(), usb=()",
    "X-Robots-Tag": "noindex",
}


def content_security_policy(form_action: Sequence[str] = ()) -> str:
    """The policy of one page. `form_action` are further sources that its forms may end at, from `form_action_of`."""
    targets = " ".join(("'self'", *form_action))
    return (
        f"default-src 'none'; style-src 'self'; img-src 'self'; form-action {targets}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def form_action_of(redirect_uri: str) -> tuple[str, ...]:
    """The CSP sources that let Chromium follow a form's redirect to a client (CSP 3 §6.4.1), from its validated URI.

    A private-use scheme becomes `scheme:`. So does a host that CSP has no grammar for (an IPv6 literal, an
    internationalised name), which is wider but the only spelling there is.
    """
    parts = urlsplit(redirect_uri)
    scheme = parts.scheme.lower()
    if SCHEME.fullmatch(scheme) is None:
        return ()
    if scheme not in {"http", "https"}:
        return (f"{scheme}:",)
    host = parts.netloc.lower()
    if HOST_SOURCE.fullmatch(host) is None:
        return (f"{scheme}:",)
    return tuple(dict.fromkeys((f"{scheme}://{host}", *FURTHER_HOPS.get(host, ()))))
