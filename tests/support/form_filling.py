"""Reads and posts the forms of our pages the way a browser does: hidden fields, and the headers that it adds."""

from collections.abc import Mapping, Sequence

import httpx2

from tests.support.visitor import Form, read_forms

SAME_ORIGIN = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
"""What Chromium sends with a form of a page that has `Referrer-Policy: no-referrer`."""


def form_of(response: httpx2.Response, action: str) -> Form:
    """The page's form with this action."""
    return next(form for form in read_forms(response.text) if form.action == action)


async def submit(
    http: httpx2.AsyncClient,
    form: Form,
    filled: Mapping[str, str | Sequence[str]] = {},
    *,
    headers: Mapping[str, str] = SAME_ORIGIN,
) -> httpx2.Response:
    """Post a form with these fields filled in."""
    data = {name: value for name, value in {**form.fields, **filled}.items() if name}
    return await http.post(form.action, data=data, headers=dict(headers))


async def sign_in(
    http: httpx2.AsyncClient, email: str = "ann@example.com", password: str = "correct horse"
) -> httpx2.Response:
    """Sign in by the form; the response to it."""
    page = await http.get("/sign-in")
    return await submit(http, form_of(page, "/sign-in"), {"email": email, "password": password})
