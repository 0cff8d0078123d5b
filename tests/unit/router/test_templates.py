"""Which template a URI is an instance of: RFC 6570 as servers use it, in linear time."""

import time

import pytest

from gateway_proxy.router.templates import MAX_TEMPLATE, MAX_URI, TemplateTable, compile_template


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("test://template/{id}/data", "test://template/7/data"),
        ("{scheme}://x", "file://x"),
        ("file:///{+path}", "file:///a/b/c.txt"),
        ("file:///{path*}", "file:///a"),
        ("db://{table}/{row}", "db://users/1"),
        ("db://{table}{?query*}", "db://users?a=1&b=2"),
        ("db://{table}{?query*}", "db://users"),
        ("a{x}{y}b", "a1b"),
        ("x:{a}.{b}", "x:1.2.3"),
        ("a://b(c)[d]+{e}", "a://b(c)[d]+f"),
        ("plain:uri", "plain:uri"),
        ("a://{x}\n{y}", "a://1\n2"),
    ],
)
def test_a_uri_fits_its_template(template: str, uri: str) -> None:
    """RFC 6570 §3.2: simple, reserved, path, form-style expansion; literals stand for themselves."""
    pattern = compile_template(template)
    assert pattern is not None
    assert pattern.fullmatch(uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("test://template/{id}/data", "test://template/7/8/data"),
        ("test://template/{id}/data", "test://template//data"),
        ("test://template/{id}/data", "test://template/7/data/more"),
        ("db://{table}", "dbx://users"),
        ("a.b:{x}", "aXb:1"),
        ("plain:uri", "plain:uri2"),
    ],
)
def test_another_uri_does_not(template: str, uri: str) -> None:
    """RFC 6570 §3.2.2: a simple expression holds no slash, and here it is never empty."""
    pattern = compile_template(template)
    assert pattern is not None
    assert not pattern.fullmatch(uri)


@pytest.mark.parametrize("template", ["a:{", "a:}", "a:{x}}", "a:{{x}}", "x" * (MAX_TEMPLATE + 1)])
def test_what_is_no_template_matches_nothing(template: str) -> None:
    """RFC 6570 §2.1: braces are no literals."""
    assert compile_template(template) is None
    assert TemplateTable([(template, 1)]).find(template) is None


def test_the_most_literal_template_wins_whatever_the_order() -> None:
    """relay.md 7: template match in a deterministic order."""
    rows = [("file:///{+path}", "any"), ("file:///home/{user}", "home"), ("file:///{user}/x", "x"), ("{a}:{b}", "b")]
    for order in (rows, rows[::-1]):
        table = TemplateTable(order)
        assert table.find("file:///home/ann") == "home"
        assert table.find("file:///home/x") == "home"
        assert table.find("file:///ann/x") == "x"
        assert table.find("file:///a/b") == "any"
        assert table.find("http:x") == "b"
        assert table.find("nothing") is None
        assert table.find("file:///" + "a" * MAX_URI) is None


@pytest.mark.parametrize(
    "template", ["a:" + "{x}b" * 100, "a:" + "{+x}b" * 100, "a:" + "{x}" * 200, "{+a}b" * 50 + "!"]
)
def test_a_template_made_to_be_slow_is_not(template: str) -> None:
    """security.md D: what a backend lists costs bounded time."""
    table = TemplateTable([(template, 1)])
    started = time.perf_counter()
    table.find("a:" + "b" * 8000 + "/")
    assert time.perf_counter() - started < 0.5
