"""The reply of a service → the result of a tool call."""

import base64
import json
from typing import Any

import pytest
from msgspec import Raw

from gateway_proxy.backends.openapi.plan import Operation, Output
from gateway_proxy.backends.openapi.results import ERROR_TEXT, RESULT_LIMIT, Answer, read_head, write_result
from gateway_proxy.domain.errors import ResultTooLarge

PNG = b"\x89PNG\r\n\x1a\n\xff\x00"
BROKEN = "The service did not answer with the JSON that its OpenAPI document promises. It answered:"


def result_of(
    body: bytes, content_type: str | None = "application/json", *, status: int = 200, output: Output = "any"
) -> Any:
    """The result; it is on one line, as an event of a stream has to be."""
    found = Operation("get it", "GET", "/a", Raw(b"{}"), output=output)
    raw = write_result(found, "shop", read_head(status, content_type, body))
    assert b"\n" not in raw
    assert b"\r" not in raw
    return json.loads(raw)


def text(value: str) -> dict[str, str]:
    """A text block."""
    return {"type": "text", "text": value}


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/Problem+JSON; charset=utf-8", "text/json", None]
)
def test_json_is_told_as_text_and_as_structure(content_type: str | None) -> None:
    """2025-11-25, Structured Content: both; the text is the service's own."""
    body = b'\xef\xbb\xbf {"a": 1.50,\r\n "b": "\\u00e9\xc3\xa9"}\n'
    assert result_of(body, content_type) == {
        "content": [text('{"a": 1.50,\r\n "b": "\\u00e9é"}')],
        "structuredContent": {"a": 1.5, "b": "éé"},
        "isError": False,
    }


@pytest.mark.parametrize("body", [b"[1,2]", b'"x"', b"7", b"null", b"true"])
def test_json_that_is_no_object_is_structure_only_where_it_was_promised(body: bytes) -> None:
    """structuredContent is an object by the protocol: wrapped as the outputSchema says, else text alone."""
    assert result_of(body) == {"content": [text(body.decode())], "isError": False}
    assert result_of(body, output="wrapped")["structuredContent"] == {"result": json.loads(body)}


def test_an_object_too_is_wrapped_where_that_was_promised() -> None:
    """A oneOf of an object and an array, say: the shape of the result may not depend on the answer."""
    assert result_of(b'{"a":1}', output="wrapped")["structuredContent"] == {"result": {"a": 1}}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"[1]", "application/json"),
        (b"hello", "text/plain"),
        (b"", None),
        (b"{broken", "application/json"),
        (PNG, "image/png"),
    ],
)
def test_a_broken_promise_is_told(body: bytes, content_type: str | None) -> None:
    """2025-11-25, Output Schema: a result without the promised structure is invalid unless it is an error."""
    result = result_of(body, content_type, output="object")
    assert result["isError"] is True
    assert result["content"][0] == text(BROKEN)
    assert len(result["content"]) == 2
    assert "structuredContent" not in result


@pytest.mark.parametrize("body", [b"{broken", b'{"a":1}x', b'1,"b":2', b'"\xff"', b"[" * 5000 + b"]" * 5000, b"NaN"])
def test_what_only_calls_itself_json_is_text(body: bytes) -> None:
    """F7: nothing of it is spliced into a message."""
    result = result_of(body)
    assert (result["isError"], list(result)) == (False, ["content", "isError"])
    assert result["content"] == [text(body.decode("utf-8", "replace"))]


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"a,b\r\n", "text/csv", "a,b\r\n"),
        ("é".encode(), "text/plain; charset=utf-8", "é"),
        ("é".encode("latin-1"), 'text/plain; charset="ISO-8859-1"', "é"),
        ("ж".encode("koi8-r"), "text/plain;charset=koi8-r", "ж"),
        (b"\xff", "text/plain", "\ufffd"),
        (b"eJw=", "text/plain; charset=zlib_codec", "eJw="),
        (b"<a/>", "application/xml", "<a/>"),
        (b"<svg/>", "image/svg+xml", "<svg/>"),
        (b"a: 1", "application/x-yaml", "a: 1"),
        (b'data: {"a":1}\n\n', "text/event-stream", 'data: {"a":1}\n\n'),
        (b"hello", None, "hello"),
        (b"hello", "", "hello"),
    ],
)
def test_text_is_text(body: bytes, content_type: str | None, expected: str) -> None:
    """text/* → text, in its charset if it is one of those that text comes in."""
    assert result_of(body, content_type) == {"content": [text(expected)], "isError": False}


@pytest.mark.parametrize(("content_type", "kind"), [("image/png", "image"), ("audio/mpeg; x=1", "audio")])
def test_images_and_sound_are_such_content(content_type: str, kind: str) -> None:
    """2025-11-25, Tool Result: image and audio content."""
    block = {"type": kind, "data": base64.b64encode(PNG).decode(), "mimeType": content_type.partition(";")[0]}
    assert result_of(PNG, content_type) == {"content": [block], "isError": False}


@pytest.mark.parametrize(
    ("content_type", "told"), [("application/pdf", "application/pdf"), (None, "application/octet-stream")]
)
def test_other_bytes_are_an_embedded_resource(content_type: str | None, told: str) -> None:
    """2025-11-25, Embedded Resources; its URI tells nothing of where the service is."""
    blob = base64.b64encode(PNG).decode()
    resource = {"uri": "openapi://shop/get%20it", "mimeType": told, "blob": blob}
    assert result_of(PNG, content_type) == {"content": [{"type": "resource", "resource": resource}], "isError": False}


@pytest.mark.parametrize(
    ("status", "body", "content_type", "expected"),
    [
        (404, b'{"detail":"no such pet"}', "application/json", 'HTTP 404\n{"detail":"no such pet"}'),
        (500, b"", None, "HTTP 500"),
        (503, b"down\n", "text/plain", "HTTP 503\ndown\n"),
        (400, PNG, "image/png", "HTTP 400\n(10 bytes of image/png)"),
        (422, b"x" * (ERROR_TEXT + 1), "text/plain", "HTTP 422\n" + "x" * ERROR_TEXT + "…"),
    ],
)
def test_an_error_of_the_service_is_told_with_its_own_words(
    status: int, body: bytes, content_type: str | None, expected: str
) -> None:
    """4xx and 5xx → isError with status and the capped body; a promise does not hold for errors."""
    for output in ("any", "object", "wrapped"):
        result = result_of(body, content_type, status=status, output=output)
        assert result == {"content": [text(expected)], "isError": True}


def test_no_content_is_said() -> None:
    """D7: a model should not have to guess what an empty result means."""
    assert result_of(b"", None, status=204) == {"content": [text("HTTP 204, without content.")], "isError": False}
    head = Answer(200, "", "", b"", ("content-length: 7", "etag: x"))
    told = json.loads(write_result(Operation("x", "HEAD", "/", Raw(b"{}")), "shop", head))
    assert told["content"] == [text("HTTP 200, without content.\ncontent-length: 7\netag: x")]


@pytest.mark.parametrize(
    ("content_type", "size"), [("application/json", 6), ("text/plain", 11), ("application/zip", 8)]
)
def test_a_result_is_bounded(content_type: str, size: int) -> None:
    """D2: a result ≤ 10 MiB, in the form in which it is relayed."""
    body = b'"' + b"x" * (size * 1024 * 1024) + b'"'
    with pytest.raises(ResultTooLarge) as caught:
        result_of(body, content_type, output="wrapped" if "json" in content_type else "any")
    assert caught.value.limit == RESULT_LIMIT
