"""Renders pages: templates by Jinja2 with autoescape, the security headers, and the page that a refusal becomes."""

import importlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway_proxy.browser.assets import Assets
from gateway_proxy.browser.content_security import PAGE_HEADERS, content_security_policy
from gateway_proxy.browser.sessions import BrowserSessions
from gateway_proxy.domain.errors import (
    CsrfFailed,
    FormInvalid,
    GatewayError,
    NotFound,
    PasswordUnacceptable,
    RateLimited,
    SignInRefused,
    StorageUnavailable,
)

if TYPE_CHECKING:
    import jinja2

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a person reads when a request is refused."""

    status: int
    title: str
    message: str
    next_step: str


REFUSALS: Final[Mapping[type[GatewayError], Refusal]] = {
    CsrfFailed: Refusal(
        403,
        "This form is no longer valid",
        "It was opened in another browser or too long ago, or it did not come from a page of this gateway.",
        "Go back, reload the page and try again. Cookies must be allowed for this site.",
    ),
    SignInRefused: Refusal(
        403, "Sign-in failed", "The e-mail address or the password is not right.", "Go back and try again."
    ),
    FormInvalid: Refusal(400, "This form could not be read", "A field does not fit.", "Go back and try again."),
    PasswordUnacceptable: Refusal(
        400, "This password cannot be used", "The new password is too short or too long.", "Go back and choose another."
    ),
    RateLimited: Refusal(
        429, "Too many tries", "There were too many tries in a short time.", "Wait a few minutes, then try again."
    ),
    NotFound: Refusal(404, "Not found", "It does not exist, or it is not yours.", "Go back to your account page."),
    StorageUnavailable: Refusal(
        503, "Back in a moment", "The gateway cannot reach its database right now.", "Try again in a few seconds."
    ),
}


class Pages:
    """The one way to answer a person with HTML."""

    def __init__(self, sessions: BrowserSessions, assets: Assets) -> None:
        self._sessions = sessions
        self._assets = assets

    @cached_property
    def _templates(self) -> "jinja2.Environment":
        """Loaded for the first page: most workers never show one (ADR 12)."""
        library = importlib.import_module("jinja2")
        templates: jinja2.Environment = library.Environment(
            loader=library.PackageLoader("gateway_proxy.browser", "templates"),
            autoescape=True,
            undefined=library.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        templates.globals["asset_url"] = self._assets.url
        templates.filters["day"] = _day
        return templates

    def render(
        self,
        request: Request,
        template: str,
        context: Mapping[str, Any],
        *,
        status: int = 200,
        form_action: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """A page with every header that pages carry. `form_action` are sources from `form_action_of`."""
        html = self._templates.get_template(template).render(context)
        policy = {"Content-Security-Policy": content_security_policy(form_action)}
        response = HTMLResponse(html, status_code=status, headers={**PAGE_HEADERS, **policy, **(headers or {})})
        self._sessions.keep_binding(request, response)
        return response

    def redirect(self, path: str) -> Response:
        """On to another page of ours with 303, so that a reload posts nothing again."""
        return Response(status_code=303, headers={**PAGE_HEADERS, "Location": path})

    def refuse(self, request: Request, error: GatewayError) -> Response:
        """The page for a refusal; an error that people cannot meet is raised again.

        Raises:
            GatewayError: It has no row in `REFUSALS`.
        """
        refusal = REFUSALS.get(type(error))
        if refusal is None:
            raise error
        message = refusal.message
        headers: dict[str, str] = {}
        if isinstance(error, FormInvalid):
            message = f"{error.field} {error.fault}."
        elif isinstance(error, PasswordUnacceptable):
            message = f"A password has {error.minimum} to {error.maximum} characters."
        elif isinstance(error, RateLimited):
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
        elif isinstance(error, StorageUnavailable):
            headers["Retry-After"] = "2"
        context = {"title": refusal.title, "message": message, "next_step": refusal.next_step}
        return self.render(request, "error.html", context, status=refusal.status, headers=headers)

    def guard(self, handler: Handler) -> Handler:
        """`handler`, with the refusals it raises answered as pages."""

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except GatewayError as error:
                return self.refuse(request, error)

        return guarded


def _day(instant: datetime) -> str:
    """An instant as a date for people, in UTC: `21 November 2026`."""
    return f"{instant.day} {instant:%B %Y}"
