"""What every page carries (security B1, B5; contract, Errors)."""

import re

import httpx2
import pytest
from starlette.requests import Request

from gateway_proxy.domain.errors import (
    CsrfFailed,
    FormInvalid,
    GatewayError,
    NotFound,
    PasswordUnacceptable,
    RateLimited,
    SignInRefused,
    StorageUnavailable,
    TokenMissing,
)
from tests.support.people_site import PeopleSite


def bare_request() -> Request:
    """A GET without cookies."""
    return Request({"type": "http", "method": "GET", "headers": []})


@pytest.mark.parametrize("path", ["/", "/sign-in", "/oauth/authorize?client_id=none"])
async def test_every_page_carries_the_headers_that_protect_it(http: httpx2.AsyncClient, path: str) -> None:
    """B1."""
    headers = (await http.get(path)).headers
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "camera=()" in headers["permissions-policy"]
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "base-uri 'none'; frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", ["/", "/sign-in", "/oauth/authorize?client_id=none"])
async def test_no_page_holds_script_style_or_a_foreign_resource(http: httpx2.AsyncClient, path: str) -> None:
    """B1, B5: nothing inline, nothing from elsewhere; one h1, a language, a way past the header."""
    html = (await http.get(path)).text
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", html, re.I)
    assert not re.search(r'(src|href|action)="(?!/|#)', html)
    assert len(re.findall(r"<h1[ >]", html)) == 1
    assert '<html lang="en">' in html
    assert 'href="#content"' in html


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CsrfFailed(), 403),
        (SignInRefused(), 403),
        (FormInvalid("name", "is missing"), 400),
        (PasswordUnacceptable(8, 1024), 400),
        (RateLimited(12.3), 429),
        (NotFound("grant", "x"), 404),
        (StorageUnavailable(), 503),
    ],
)
def test_a_refusal_is_a_page_that_says_what_to_do(site: PeopleSite, error: GatewayError, status: int) -> None:
    """Contract: browser pages answer with a page, never a traceback."""
    response = site.pages.refuse(bare_request(), error)
    assert response.status_code == status
    if status in {429, 503}:
        assert int(response.headers["retry-after"]) >= 1


def test_an_error_that_people_cannot_meet_goes_on(site: PeopleSite) -> None:
    """It is a fault of ours, and the outer boundary's."""
    with pytest.raises(TokenMissing):
        site.pages.refuse(bare_request(), TokenMissing())


def test_what_is_shown_is_escaped(site: PeopleSite) -> None:
    """Autoescape (security incident 29)."""
    context = {"title": "<script>", "message": '"><img src=x>', "next_step": "{{ 7*7 }}"}
    body = bytes(site.pages.render(bare_request(), "error.html", context).body)
    assert b"<script>" not in body
    assert b"<img src=x>" not in body
    assert b"{{ 7*7 }}" in body
