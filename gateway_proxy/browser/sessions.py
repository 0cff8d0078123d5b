"""Who is signed in, in which browser. The cookie holds a signed random id; everything else is a row in storage.

Cookies: `session` after sign-in; `browser`, an anonymous binding that forms are tied to before sign-in as well; and
`reauthenticated`, which says for a few minutes what the password was just asked for. `devices` has one of its own.
"""

import hashlib
import hmac
from datetime import timedelta
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.browser.cookies import Cookies
from gateway_proxy.browser.devices import Devices
from gateway_proxy.browser.signing import Signing
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.ids import new_session_id
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.domain.tenant import User
from gateway_proxy.storage.sql.browser_sessions import (
    add_browser_session,
    find_browser_session_user,
    revoke_browser_session,
)
from gateway_proxy.storage.sql.database import Database

SESSION_LIFETIME: Final = timedelta(hours=12)
BINDING_LIFETIME: Final = timedelta(days=30)
REAUTHENTICATION_LIFETIME: Final = timedelta(minutes=10)


class BrowserSessions:
    """Reads, opens and ends people's sessions."""

    def __init__(self, database: Database, signing: Signing, clock: Clock, *, public_url: str) -> None:
        self._database = database
        self._signing = signing
        self._clock = clock
        self._cookies = Cookies(public_url)
        self.devices = Devices(signing, self._cookies)

    async def current_user(self, request: Request) -> User | None:
        """The user who is signed in, asked of storage once per request.

        Raises:
            StorageUnavailable: The database does not answer.
        """
        if not hasattr(request.state, "browser_user"):
            digest = self.find_session_digest(request)
            request.state.browser_user = (
                None
                if digest is None
                else await self._database.read(find_browser_session_user, digest=digest, now=self._clock.now())
            )
        user: User | None = request.state.browser_user
        return user

    async def sign_in(self, request: Request, response: Response, user: User, *, path: str) -> None:
        """Open a session under a new id (no fixation) and end the one that the browser had.

        `path` is what the password was asked for, see `is_reauthenticated`.
        """
        now = self._clock.now()
        session_id = new_session_id()
        previous = self.find_session_digest(request)
        if previous is not None:
            await self._database.run(revoke_browser_session, digest=previous, now=now)
        await self._database.run(
            add_browser_session,
            digest=digest_of(session_id),
            user_id=user.id,
            now=now,
            expires_at=now + SESSION_LIFETIME,
        )
        signed = self._signing.sign("session", session_id)
        self._cookies.set(response, "session", signed, max_age=int(SESSION_LIFETIME.total_seconds()))
        proof = self._signing.sign("reauthenticated", _reauthentication(digest_of(session_id), path))
        self._cookies.set(response, "reauthenticated", proof, max_age=int(REAUTHENTICATION_LIFETIME.total_seconds()))
        self.devices.remember(request, response, user.email)

    def is_reauthenticated(self, request: Request, path: str) -> bool:
        """Whether this session began in the last minutes for exactly this path (with query), and was not used for it.

        For requests that want the password whatever session there is; `end_reauthentication` uses it up.
        """
        signed, digest = self._cookies.find(request, "reauthenticated"), self.find_session_digest(request)
        if signed is None or digest is None:
            return False
        proof = self._signing.find("reauthenticated", signed, max_age=REAUTHENTICATION_LIFETIME)
        return proof is not None and hmac.compare_digest(proof, _reauthentication(digest, path))

    def end_reauthentication(self, request: Request, response: Response) -> None:
        """What the password was asked for is done; the next one has to ask again."""
        if self._cookies.find(request, "reauthenticated") is not None:
            self._cookies.clear(response, "reauthenticated")

    def is_older_than(self, request: Request, age: timedelta) -> bool:
        """Whether the password was last asked for longer ago than `age`; so it was if nobody is signed in."""
        signed = self._cookies.find(request, "session")
        return signed is None or self._signing.find("session", signed, max_age=age) is None

    async def sign_out(self, request: Request, response: Response) -> None:
        """End the session, for this browser and for whoever copied its cookie."""
        digest = self.find_session_digest(request)
        if digest is not None:
            await self._database.run(revoke_browser_session, digest=digest, now=self._clock.now())
        self._cookies.clear(response, "session")
        self._cookies.clear(response, "browser")
        self._cookies.clear(response, "reauthenticated")
        request.state.browser_user = None

    def binding(self, request: Request) -> str:
        """An opaque id of this browser, minted on its first page. A response that relies on it needs `keep_binding`."""
        if not hasattr(request.state, "browser_binding"):
            signed = self._cookies.find(request, "browser")
            known = None if signed is None else self._signing.find("browser", signed, max_age=BINDING_LIFETIME)
            request.state.browser_binding_is_new = known is None
            request.state.browser_binding = known or new_session_id()
        binding: str = request.state.browser_binding
        return binding

    def keep_binding(self, request: Request, response: Response) -> None:
        """Send the binding's cookie when this request minted it. `Pages.render` does it for every page."""
        if getattr(request.state, "browser_binding_is_new", False):
            signed = self._signing.sign("browser", request.state.browser_binding)
            self._cookies.set(response, "browser", signed, max_age=int(BINDING_LIFETIME.total_seconds()))

    def find_session_digest(self, request: Request) -> bytes | None:
        """The digest that this browser's session is stored under, when its cookie is ours; it may have ended."""
        signed = self._cookies.find(request, "session")
        if signed is None:
            return None
        session_id = self._signing.find("session", signed, max_age=SESSION_LIFETIME)
        return None if session_id is None else digest_of(session_id)


def _reauthentication(session_digest: bytes, path: str) -> str:
    """Decoded first, since browsers do not all percent-encode the same characters of a redirect's query."""
    return f"{session_digest.hex()}.{hashlib.sha256(unquote_to_bytes(path)).hexdigest()}"
