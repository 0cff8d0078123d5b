"""Proof that a form was ours, for this browser and this purpose, and that this site's own page posted it.

A token is a signature over the browser's binding, so showing a page twice spoils nothing and storage is not asked.
"""

import hmac
from datetime import timedelta
from typing import Final, Protocol
from urllib.parse import urlsplit

from starlette.requests import Request

from gateway_proxy.browser.sessions import BrowserSessions
from gateway_proxy.browser.signing import Signing
from gateway_proxy.domain.errors import CsrfFailed

FIELD: Final = "csrf"
LIFETIME: Final = timedelta(hours=12)


class Fields(Protocol):
    """What `verify` needs of a form."""

    def get(self, name: str, /) -> object: ...


class Csrf:
    """Mints and verifies form tokens. A form for a signed-in user names the user's id in its purpose."""

    def __init__(self, sessions: BrowserSessions, signing: Signing, *, public_url: str) -> None:
        self._sessions = sessions
        self._signing = signing
        parts = urlsplit(public_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._is_loopback = parts.scheme == "http"

    def token(self, request: Request, purpose: str) -> str:
        """The value of the form's hidden field `csrf`. Any number may be minted; each stays good for 12 hours."""
        return self._signing.sign(f"csrf.{purpose}", self._sessions.binding(request))

    def verify(self, request: Request, form: Fields, purpose: str) -> None:
        """Check a posted form before anything else of it is believed.

        Raises:
            CsrfFailed: Posted from another site, or the token is missing, for another browser or purpose, or too old.
        """
        self._verify_origin(request)
        given = form.get(FIELD)
        if not isinstance(given, str):
            raise CsrfFailed
        binding = self._signing.find(f"csrf.{purpose}", given, max_age=LIFETIME)
        if binding is None or not hmac.compare_digest(binding.encode(), self._sessions.binding(request).encode()):
            raise CsrfFailed

    def _verify_origin(self, request: Request) -> None:
        """Believe what the browser says about the page that posted (Fetch §3.2, Fetch Metadata §2.4).

        Our pages send no referrer, which turns their own Origin into `null` (Fetch, "serializing a request origin"), so
        `null` counts only together with Sec-Fetch-Site, which browsers send to https and most of them to loopback http.
        A client that sends neither header is no browser.
        """
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        if site is not None and site not in {"same-origin", "none"}:
            raise CsrfFailed
        if origin is None or origin == self._origin or (origin == "null" and (site is not None or self._is_loopback)):
            return
        raise CsrfFailed
