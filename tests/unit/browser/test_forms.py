"""Reading posted forms (security D1, incident 26)."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from gateway_proxy.browser.forms import MAXIMUM_BYTES, read_form
from gateway_proxy.domain.errors import FormInvalid

URLENCODED = "application/x-www-form-urlencoded"


def posted(body: bytes, content_type: str = URLENCODED) -> Request:
    """A request with this body, in two chunks."""
    messages: list[Message] = [
        {"type": "http.request", "body": body[:10], "more_body": True},
        {"type": "http.request", "body": body[10:], "more_body": False},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode())]}
    return Request(scope, receive)


async def test_fields_are_read_and_missing_ones_are_empty() -> None:
    """application/x-www-form-urlencoded, with a charset or without."""
    form = await read_form(posted(b"a=1&b=%C3%BC+x&c=", f"{URLENCODED}; charset=utf-8"))
    assert (form.get("a"), form.get("b"), form.get("c"), form.get("d")) == ("1", "ü x", "", "")


async def test_a_field_sent_twice_is_refused_where_one_is_wanted() -> None:
    """Two parsers must not pick different ones."""
    form = await read_form(posted(b"scope=mcp&scope=openai"))
    assert form.get_all("scope") == ("mcp", "openai")
    with pytest.raises(FormInvalid):
        form.get("scope")


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", "application/json", "", "text/plain"])
async def test_any_other_content_type_is_refused(content_type: str) -> None:
    """No multipart anywhere."""
    with pytest.raises(FormInvalid):
        await read_form(posted(b"a=1", content_type))


@pytest.mark.parametrize(
    "body", [b"a=" + b"x" * MAXIMUM_BYTES, b"a=%ff", b"\xff", b"&".join(b"a%d=1" % n for n in range(200))]
)
async def test_a_body_that_is_too_large_or_no_text_is_refused(body: bytes) -> None:
    """64 KiB, UTF-8, at most a hundred fields."""
    with pytest.raises(FormInvalid):
        await read_form(posted(body))


@pytest.mark.parametrize("body", [b"tenant_id=a%00b", b"a\0=1"])
async def test_a_nul_character_is_refused(body: bytes) -> None:
    """Security AS13: PostgreSQL has no such text, and would fail where the form is used."""
    with pytest.raises(FormInvalid):
        await read_form(posted(body))


async def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Security D4: a body has thirty seconds, also where nobody is signed in."""
    monkeypatch.setattr("gateway_proxy.browser.forms.BODY_SECONDS", 0.05)

    async def receive() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"a", "more_body": True}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", URLENCODED.encode())]}
    with pytest.raises(FormInvalid, match="body"):
        await read_form(Request(scope, receive))


@given(st.binary(max_size=300))
async def test_any_body_is_a_form_or_refused(body: bytes) -> None:
    """Fuzzed: malformed input ends that request only."""
    try:
        form = await read_form(posted(body))
    except FormInvalid:
        return
    assert all(isinstance(name, str) for name in form.fields)
