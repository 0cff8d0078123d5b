"""Device cookies (OWASP): a browser in which somebody has signed in before has a count of tries of its own.

Strangers who guess at an account use up the strangers' count, not the owner's, so nobody can be locked out of the
browser that they use. The cookie proves no identity and opens nothing; it survives signing out on purpose.
"""

import json
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.browser.cookies import Cookies
from gateway_proxy.browser.signing import Signing
from gateway_proxy.domain.ids import new_session_id
from gateway_proxy.domain.secrets import digest_of

LIFETIME: Final = timedelta(days=180)
MAXIMUM_ACCOUNTS: Final = 4  # of one browser; whoever signed in least recently becomes a stranger again
PURPOSE: Final = "device"


def account_of(email: str) -> str:
    """What tries for an account are counted under: bounded, and the same whether or not there is such an account."""
    return digest_of(email.strip().lower()).hex()


class Devices:
    """Remembers in a signed cookie which accounts have signed in in this browser, each under a random name."""

    def __init__(self, signing: Signing, cookies: Cookies) -> None:
        self._signing = signing
        self._cookies = cookies

    def find(self, request: Request, email: str) -> str | None:
        """The name under which this browser's own tries for the account are counted; None for a stranger's."""
        return self._known(request).get(account_of(email))

    def remember(self, request: Request, response: Response, email: str) -> None:
        """The account has just signed in here: give it a new name, and keep those of the other accounts."""
        account, known = account_of(email), self._known(request)
        known.pop(account, None)
        kept = dict([*known.items(), (account, new_session_id())][-MAXIMUM_ACCOUNTS:])
        value = self._signing.sign(PURPOSE, json.dumps(kept, separators=(",", ":")))
        self._cookies.set(response, "device", value, max_age=int(LIFETIME.total_seconds()))

    def _known(self, request: Request) -> dict[str, str]:
        signed = self._cookies.find(request, "device")
        text = None if signed is None else self._signing.find(PURPOSE, signed, max_age=LIFETIME)
        known: dict[str, str] = {} if text is None else json.loads(text)
        return known
