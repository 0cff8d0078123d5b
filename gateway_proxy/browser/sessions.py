"""Who is signed in, in which browser. The cookie holds a signed random id; everything else is a row in storage.

Two cookies: `session` after sign-in, and `browser`, an anonymous binding that forms are tied to before sign-in as well.
"""

from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway_proxy.browser.cookies import Cookies
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


class BrowserSessions:
    """Reads, opens and ends people's sessions."""

    def __init__(self, database: Database, signing: Signing, clock: Clock, *, public_url: str) -> None:
        self._database = database
        self._signing = signing
        self._clock = clock
        self._cookies = Cookies(public_url)

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

    async def sign_in(self, request: Request, response: Response, user: User) -> None:
        """Open a session under a new id (no fixation) and end the one that the browser had."""
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

    async def sign_out(self, request: Request, response: Response) -> None:
        """End the session, for this browser and for whoever copied its cookie."""
        digest = self.find_session_digest(request)
        if digest is not None:
            await self._database.run(revoke_browser_session, digest=digest, now=self._clock.now())
        self._cookies.clear(response, "session")
        self._cookies.clear(response, "browser")
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
