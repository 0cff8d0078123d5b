"""Arguments → one HTTP request: OpenAPI's styles on the wire, and what is refused before anything is sent."""

import json
import re
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.backends.envelope import read_fields
from gateway_proxy.backends.openapi.operations import read_plan
from gateway_proxy.backends.openapi.plan import Hints, Operation
from gateway_proxy.backends.openapi.requests import MAX_TARGET, ArgumentFault, HttpCall, write_call
from tests.support.openapi_service import Tree, document, json_body, operation, parameter

ARRAY = ["blue", "black", "brown"]
OBJECT = {"R": 100, "G": 200, "B": 150}
FREE: Tree = {}


def one(source: Tree, path: str = "/a", method: str = "post") -> Operation:
    """The one operation of a document."""
    plan = read_plan(document({path: {method: source}}), Hints())
    assert plan.notes == ()
    return plan.operations[0]


def write(found: Operation, arguments: Any, *, prefix: str = "", cookies: str = "") -> HttpCall:
    """The request for these arguments."""
    return write_call(found, prefix, read_fields(json.dumps(arguments).encode()), cookies)


def query_of(value: Any, style: str | None = None, explode: bool | None = None) -> str:
    """A query parameter `color` on the wire."""
    more = {key: entry for key, entry in (("style", style), ("explode", explode)) if entry is not None}
    call = write(one(operation("x", parameter("color", "query", FREE, **more))), {"color": value})
    return urlsplit(call.target).query


@pytest.mark.parametrize(
    ("style", "explode", "value", "expected"),
    [
        (None, None, "blue", "color=blue"),
        (None, None, ARRAY, "color=blue&color=black&color=brown"),
        (None, None, OBJECT, "R=100&G=200&B=150"),
        ("form", False, ARRAY, "color=blue,black,brown"),
        ("form", False, OBJECT, "color=R,100,G,200,B,150"),
        ("form", True, "", "color="),
        ("spaceDelimited", False, ARRAY, "color=blue%20black%20brown"),
        ("pipeDelimited", False, ARRAY, "color=blue%7Cblack%7Cbrown"),
        ("pipeDelimited", False, OBJECT, "color=R%7C100%7CG%7C200%7CB%7C150"),
        ("deepObject", True, OBJECT, "color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150"),
        ("deepObject", True, {"a": {"b": [1, 2], "c": None}}, "color%5Ba%5D%5Bb%5D=1&color%5Ba%5D%5Bb%5D=2"),
        (None, None, True, "color=true"),
        (None, None, 1.5, "color=1.5"),
        (None, None, 12345678901234567890123, "color=12345678901234567890123"),
        (None, None, None, ""),
        (None, None, [], ""),
        (None, False, [], ""),
        (None, None, "a&b=c#d e+é", "color=a%26b%3Dc%23d%20e%2B%C3%A9"),
        ("form", False, ["a,b", "c"], "color=a%2Cb,c"),
    ],
)  # fmt: skip
def test_query_styles(style: str | None, explode: bool | None, value: Any, expected: str) -> None:
    """OpenAPI 3.1.1, Style Examples: the table's rows for a query."""
    assert query_of(value, style, explode) == expected


@pytest.mark.parametrize(
    ("style", "explode", "value", "expected"),
    [
        ("simple", False, "blue", "/blue"),
        ("simple", False, ARRAY, "/blue,black,brown"),
        ("simple", False, OBJECT, "/R,100,G,200,B,150"),
        ("simple", True, OBJECT, "/R=100,G=200,B=150"),
        ("label", False, "blue", "/.blue"),
        ("label", False, ARRAY, "/.blue,black,brown"),
        ("label", True, ARRAY, "/.blue.black.brown"),
        ("label", True, OBJECT, "/.R=100.G=200.B=150"),
        ("matrix", False, "blue", "/;color=blue"),
        ("matrix", False, ARRAY, "/;color=blue,black,brown"),
        ("matrix", True, ARRAY, "/;color=blue;color=black;color=brown"),
        ("matrix", False, OBJECT, "/;color=R,100,G,200,B,150"),
        ("matrix", True, OBJECT, "/;R=100;G=200;B=150"),
        ("simple", False, 7, "/7"),
    ],
)
def test_path_styles(style: str, explode: bool, value: Any, expected: str) -> None:
    """OpenAPI 3.1.1, Style Examples: the table's rows for a path."""
    found = one(operation("x", parameter("color", "path", FREE, style=style, explode=explode)), "/{color}")
    assert write(found, {"color": value}).target == expected


def test_headers_and_cookies() -> None:
    """Style simple in headers, form in cookies; the definition's own cookies stay, and stay first."""
    found = one(
        operation(
            "x",
            parameter("X-List", "header", FREE),
            parameter("X-Map", "header", FREE, explode=True),
            {"name": "X-Json", "in": "header", "content": {"application/json": {}}},
            parameter("theme", "cookie", FREE),
            parameter("none", "cookie", FREE),
        )
    )
    given = {"X-List": ["a", 1], "X-Map": {"b": True}, "X-Json": {"c": [1]}, "theme": "dark; admin=1", "none": None}
    assert write(found, given, cookies="sid=1").headers == (
        ("X-List", "a,1"),
        ("X-Map", "b=true"),
        ("X-Json", '{"c":[1]}'),
        ("cookie", "sid=1; theme=dark%3B%20admin%3D1"),
    )
    assert write(found, {}, cookies="sid=1").headers == ()


@pytest.mark.parametrize("value", ["a\r\nX-Admin: 1", "a\nb", "a\x00", "é", "\x7f", "x" * 9000])
def test_a_header_cannot_be_broken_out_of(value: str) -> None:
    """RFC 9110 §5.5: no line breaks, nothing that two readers could read differently."""
    with pytest.raises(ArgumentFault, match=r"^X-A: expected printable ASCII"):
        write(one(operation("x", parameter("X-A", "header"))), {"X-A": value})


def test_members_of_a_json_body_go_byte_for_byte() -> None:
    """Compatibility A7: the arguments as JSON; numbers as the caller wrote them; parameters are not among them."""
    schema = {"type": "object", "properties": {"a": {}, "b": {}}}
    found = one(operation("x", parameter("q", "query"), requestBody=json_body(schema)))
    call = write_call(found, "/v1", read_fields(b'{"a":1.50,"q":"z","b":{"\\u00e9":[1e2,null]},"extra":true}'))
    assert call == HttpCall(
        "POST", "/v1/a?q=z", (("content-type", "application/json"),),
        b'{"a":1.50,"b":{"\\u00e9":[1e2,null]},"extra":true}',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("required", "arguments", "body", "is_sent"),
    [
        (True, {"body": [1]}, b"[1]", True),
        (True, {"body": None}, b"null", True),
        (False, {"body": None}, b"", False),
        (False, {}, b"", False),
        (False, {"body": 0}, b"0", True),
    ],
)
def test_a_body_of_one_argument(required: bool, arguments: Tree, body: bytes, is_sent: bool) -> None:
    """A body that has no fixed members; left out when it may be and is."""
    source = operation("x", requestBody=json_body({"type": ["array", "null"]}, required=required))
    call = write(one(source), arguments)
    assert (call.body, ("content-type", "application/json") in call.headers) == (body, is_sent)


def test_a_required_body_without_members_is_an_empty_object() -> None:
    """All members are optional, the body is not."""
    source = operation("x", requestBody=json_body({"type": "object", "properties": {"a": {}}}))
    assert write(one(source), {}).body == b"{}"
    optional = operation("x", requestBody=json_body({"type": "object", "properties": {"a": {}}}, required=False))
    assert write(one(optional), {}) == HttpCall("POST", "/a", (), b"")


def test_a_form_is_encoded() -> None:
    """RFC 1866 and OpenAPI's Encoding Object; what a form says nothing about is repeated, or JSON where it nests."""
    schema = {"type": "object", "properties": {name: {} for name in "abcdef"}}
    encoding = {
        "c": {"style": "deepObject", "explode": True},
        "d": {"explode": False},
        "f": {"contentType": "application/json"},
    }
    media = {"application/x-www-form-urlencoded": {"schema": schema, "encoding": encoding}}
    call = write(
        one(operation("x", requestBody={"content": media})),
        {"a": "x y&z", "b": [1, {"n": 2}], "c": {"k": "v"}, "d": [1, 2], "e": {"n": 1}, "f": ["é"], "g": None},
    )
    assert parse_qsl(call.body.decode(), strict_parsing=True) == [
        ("a", "x y&z"), ("b", "1"), ("b", '{"n":2}'), ("c[k]", "v"), ("d", "1,2"), ("e", '{"n":1}'), ("f", '["é"]'),
    ]  # fmt: skip
    assert call.headers == (("content-type", "application/x-www-form-urlencoded"),)


def test_a_form_as_one_argument() -> None:
    """A form without fixed members."""
    media = {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}
    found = one(operation("x", requestBody={"content": media}))
    assert write(found, {"body": {"a": 1, "b": ["x", "y"]}}).body == b"a=1&b=x&b=y"
    with pytest.raises(ArgumentFault, match=r"^body: expected an object\.$"):
        write(found, {"body": "a=1"})


def test_a_text_is_sent_as_it_is() -> None:
    """requestBody of text."""
    found = one(operation("x", requestBody={"required": True, "content": {"text/csv": {}}}))
    assert write(found, {"body": "a;é\r\n"}) == HttpCall(
        "POST", "/a", (("content-type", "text/csv"),), "a;é\r\n".encode()
    )
    with pytest.raises(ArgumentFault, match=r"^body: expected a string\.$"):
        write(found, {"body": 7})


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({}, "A required argument is missing: id."),
        ({"q": "1"}, "A required argument is missing: id."),
        ({"id": "1", "oops": 1, "more": 2}, "Unknown argument: oops, more. This tool takes: id, q."),
        ({"id": None}, "A required argument is missing: id."),
        ({"id": ""}, "id: it may not be empty."),
        ({"id": []}, "id: it may not be empty."),
        ({"id": ["a", ".."]}, "id: it may not hold dot segments."),
        ({"id": "../x"}, "id: it may not hold dot segments."),
        ({"id": {"a": {"b": 1}}}, "id: it may not nest arrays or objects here."),
        ({"id": "1", "q": [[1]]}, "q: it may not nest arrays or objects here."),
        ({"id": "x" * MAX_TARGET}, "The arguments make a URL of over 16 KiB."),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments: Tree, fault: str) -> None:
    """The sentence is for the model: which argument, and what was expected."""
    found = one(operation("x", parameter("id", "path", FREE), parameter("q", "query", FREE)), "/a/{id}")
    with pytest.raises(ArgumentFault, match=f"^{re.escape(fault)}$"):
        write(found, arguments)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(TEXT, min_size=1, max_size=4), st.dictionaries(TEXT, TEXT, min_size=1, max_size=4))
def test_what_a_query_carries_is_what_was_given(values: list[str], members: dict[str, str]) -> None:
    """Property: no value adds a parameter, ends the query or comes back as another."""
    found = one(
        operation("x", parameter("a", "query", FREE), parameter("b", "query", FREE, style="deepObject", explode=True))
    )
    target = write(found, {"a": values, "b": members}).target
    parts = urlsplit(target)
    assert (parts.path, parts.fragment) == ("/a", "")
    assert parse_qs(parts.query, keep_blank_values=True, strict_parsing=True, max_num_fields=99) == {
        "a": values,
        **{f"b[{name}]": [value] for name, value in members.items()},
    }


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_delimiters_inside_values_are_not_delimiters(values: list[str]) -> None:
    """Property: a comma in a value is escaped, the one between values is not."""
    for style, delimiter in (("form", ","), ("spaceDelimited", "%20"), ("pipeDelimited", "%7C")):
        written = query_of(values, style, False).removeprefix("color=")
        if style == "form":
            assert [unquote(part) for part in written.split(delimiter)] == values
        assert unquote(written) == unquote(delimiter).join(values)


@given(st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.booleans(), st.lists(TEXT)), max_size=4))
def test_a_form_carries_what_was_given(members: dict[str, Any]) -> None:
    """Property: as for a query."""
    media = {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}
    found = one(operation("x", requestBody={"required": True, "content": media}))
    pairs = parse_qsl(write(found, {"body": members}).body.decode(), keep_blank_values=True)
    expected: list[tuple[str, str]] = []
    for name, value in members.items():
        entries = value if isinstance(value, list) else [value]
        expected += [(name, entry if isinstance(entry, str) else json.dumps(entry)) for entry in entries]
    assert pairs == expected
