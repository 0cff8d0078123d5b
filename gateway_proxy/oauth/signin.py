"""The sign-in page, and what happens when its form is posted: `/sign-in` and `/sign-out`.

A GET shows a page and changes nothing, however often it is repeated. The password is checked by `browser.authenticate`,
not here.
"""

import math
import string
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway_proxy.browser.authenticate import Authenticator
from gateway_proxy.browser.content_security import form_action_of
from gateway_proxy.browser.csrf import Csrf
from gateway_proxy.browser.forms import Form, read_form
from gateway_proxy.browser.next_step import NextStep, NextSteps
from gateway_proxy.browser.pages import Pages
from gateway_proxy.browser.sessions import BrowserSessions
from gateway_proxy.domain.errors import CsrfFailed, RateLimited, SignInRefused
from gateway_proxy.domain.tenant import User
from gateway_proxy.oauth.vocabulary import AUTHORIZE_PATH

SIGN_IN_PURPOSE: Final = "sign-in"
SIGN_OUT_PURPOSE: Final = "sign-out"
AFTER_SIGN_IN: Final = NextStep("/account")
AFTER_SIGN_OUT: Final = NextStep("/")
STALE: Final = "This page was out of date. Please fill it in again. Cookies must be allowed for this site."
REFUSED: Final = "The e-mail address or the password is not right."


def authorize_step(query: str, client_name: str | None = None, redirect_uri: str | None = None) -> NextStep:
    """Back to the authorization request with this query, byte for byte where the query is printable ASCII."""
    path = AUTHORIZE_PATH + "?" + quote(query, safe=string.punctuation)
    return NextStep(path, client_name, redirect_uri)


@dataclass(frozen=True)
class SignInPage:
    """The page with the two fields."""

    pages: Pages
    csrf: Csrf
    next_steps: NextSteps

    def render(
        self, request: Request, *, query: str, client_name: str, redirect_uri: str | None, user: User | None = None
    ) -> Response:
        """The page for somebody who came with an authorization request; `redirect_uri` has been validated.

        Its origin stands in `form-action`: when consent is on record already, the redirects that follow the form end at
        the client, and Chromium would stop there without a word. `user` is signed in and has to prove it again.
        """
        step = authorize_step(query, client_name, redirect_uri)
        return self.render_step(request, step, email="" if user is None else user.email, is_again=user is not None)

    def render_step(
        self,
        request: Request,
        step: NextStep,
        *,
        email: str = "",
        error: str | None = None,
        is_again: bool = False,
        status: int = 200,
        retry_after: float | None = None,
    ) -> Response:
        """The page that leads to `step`; with `error` it is shown again after a refusal."""
        context = {
            "client_name": step.client_name,
            "csrf": self.csrf.token(request, SIGN_IN_PURPOSE),
            "next": self.next_steps.sign(step),
            "email": email,
            "error": error,
            "is_again": is_again,
        }
        return self.pages.render(
            request,
            "sign_in.html",
            context,
            status=status,
            form_action=() if step.redirect_uri is None else form_action_of(step.redirect_uri),
            headers={} if retry_after is None else {"Retry-After": str(max(1, math.ceil(retry_after)))},
        )


@dataclass(frozen=True)
class SignIn:
    """GET and POST /sign-in."""

    page: SignInPage
    sessions: BrowserSessions
    authenticator: Authenticator

    async def handle(self, request: Request) -> Response:
        """Show the page, or check what was filled in and go on with 303 (never 307: RFC 9700 §4.12)."""
        if request.method == "POST":
            return await self.page.pages.guard(self._post)(request)
        return await self.page.pages.guard(self._get)(request)

    async def _get(self, request: Request) -> Response:
        step = self.page.next_steps.find(request.query_params.get("next", "")) or AFTER_SIGN_IN
        if await self.sessions.current_user(request) is not None:
            return self.page.pages.redirect(step.path)
        return self.page.render_step(request, step)

    async def _post(self, request: Request) -> Response:
        form = await read_form(request)
        step = self.page.next_steps.find(form.get("next"))
        if step is None:
            return self._too_late(request)
        try:
            self.page.csrf.verify(request, form, SIGN_IN_PURPOSE)
        except CsrfFailed:  # a fresh form helps who came honestly, and nobody else
            return self.page.render_step(request, step, error=STALE, status=403)
        email = form.get("email").strip()
        address = request.client.host if request.client is not None else None
        try:
            device = self.sessions.devices.find(request, email)
            user = await self.authenticator.authenticate(email, form.get("password"), address=address, device=device)
        except SignInRefused:
            return self.page.render_step(request, step, email=email, error=REFUSED, status=403)
        except RateLimited as limited:
            minutes = max(1, math.ceil(limited.retry_after / 60))
            error = f"Too many tries. Wait {minutes} minute{'s' if minutes > 1 else ''}, then try again."
            return self.page.render_step(
                request, step, email=email, error=error, status=429, retry_after=limited.retry_after
            )
        response = self.page.pages.redirect(step.path)
        await self.sessions.sign_in(request, response, user, path=step.path)
        return response

    def _too_late(self, request: Request) -> Response:
        context = {
            "title": "This page was open for too long",
            "message": "For your safety a sign-in has to be finished within ten minutes.",
            "next_step": "Go back to the app that sent you here and connect again, or sign in from the start page.",
        }
        return self.page.pages.render(request, "error.html", context, status=400)


@dataclass(frozen=True)
class SignOut:
    """POST /sign-out: ends the session, and goes on to where the form says (the same request, for another account)."""

    pages: Pages
    sessions: BrowserSessions
    csrf: Csrf
    next_steps: NextSteps

    async def handle(self, request: Request) -> Response:
        """Sign out and go on with 303."""
        return await self.pages.guard(self._post)(request)

    async def _post(self, request: Request) -> Response:
        form: Form = await read_form(request)
        self.csrf.verify(request, form, SIGN_OUT_PURPOSE)
        step = self.next_steps.find(form.get("next")) or AFTER_SIGN_OUT
        response = self.pages.redirect(step.path)
        await self.sessions.sign_out(request, response)
        return response


def sign_in_routes(sign_in: SignIn, sign_out: SignOut) -> list[Route]:
    """The routes of signing in and out."""
    return [
        Route("/sign-in", sign_in.handle, methods=["GET", "POST"]),
        Route("/sign-out", sign_out.handle, methods=["POST"]),
    ]
