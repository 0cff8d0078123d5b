"""Our cookies: their names, attributes and how they are read. What is in them is decided by `sessions`."""

from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response

CookieUse = Literal["session", "browser", "device", "reauthenticated"]
MAXIMUM_HEADER_BYTES: Final = 16 * 1024


class Cookies:
    """`__Host-gw_…` with Secure on https; `gw_…` without on the loopback http default, where Secure would lose them."""

    def __init__(self, public_url: str) -> None:
        self._is_secure = public_url.startswith("https:")
        self._prefix = "__Host-gw_" if self._is_secure else "gw_"

    def name(self, use: CookieUse) -> str:
        """The cookie's name on this deployment."""
        return self._prefix + use

    def find(self, request: Request, use: CookieUse) -> str | None:
        """The cookie's value. Sent twice, or in an oversized header, it counts as not sent: one of them is planted."""
        headers = request.headers.getlist("cookie")
        if sum(map(len, headers)) > MAXIMUM_HEADER_BYTES:
            return None
        wanted = self.name(use)
        pairs = (pair.strip().partition("=") for header in headers for pair in header.split(";"))
        values = [value for name, _, value in pairs if name == wanted]
        return values[0] if len(values) == 1 else None

    def set(self, response: Response, use: CookieUse, value: str, *, max_age: int) -> None:
        """Send the cookie, for `max_age` seconds: HttpOnly, SameSite=Lax, this host only, every path."""
        response.set_cookie(
            self.name(use),
            value,
            max_age=max_age,
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="lax",
        )

    def clear(self, response: Response, use: CookieUse) -> None:
        """Take the cookie back."""
        response.delete_cookie(self.name(use), path="/", secure=self._is_secure, httponly=True, samesite="lax")
