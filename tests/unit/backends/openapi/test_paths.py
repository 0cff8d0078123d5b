"""Paths that callers cannot lead elsewhere (security.md row 28, E3)."""

import posixpath
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway_proxy.backends.openapi.paths import PathUnusable, build_path, encode_segment, variables_of

ATTACKS = [
    "..", ".", "../admin", "../../admin", "a/../../b", "a/..", "..\\admin", "..;/admin", ".. ", "%2e%2e",
    "%2e%2e%2fadmin", "%252e%252e%252fadmin", "%25252e%25252e/x", "..%2fadmin", "..%5cadmin", "./x", "a/./b", "",
    "a\x00b", "a\r\nb", "a\x7f", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("value", ATTACKS)
def test_a_value_that_would_climb_is_refused(value: str) -> None:
    """Security row 28 (CVE-2026-32871): dot segments, in any encoding, never reach the service."""
    with pytest.raises(PathUnusable):
        encode_segment(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a/b", "a%2Fb"),
        ("a b", "a%20b"),
        ("a?x=1#y", "a%3Fx%3D1%23y"),
        ("100%", "100%25"),
        ("é", "%C3%A9"),
        ("a;b,c:d@e&f", "a%3Bb%2Cc%3Ad%40e%26f"),
        ("...", "..."),
        ("v1..v2", "v1..v2"),
        (".gitignore", ".gitignore"),
        ("//evil.example/", "%2F%2Fevil.example%2F"),
    ],
)
def test_every_other_value_stays_in_its_segment(value: str, expected: str) -> None:
    """E3: path parameters quoted with safe=""."""
    assert encode_segment(value) == expected


@given(st.text(max_size=40))
@example("..%252f..%252f")
@example(" ..")
def test_no_text_leaves_the_segment(value: str) -> None:
    """E3: whatever comes, the path has the template's shape, keeps its prefix however often it is decoded."""
    try:
        segment = encode_segment(value)
    except PathUnusable:
        return
    path = build_path("/api", "/pets/{id}/toys", lambda _: segment)
    assert path.isascii()
    assert path.count("/") == 4
    assert unquote(path.split("/")[3]) == value
    parts = urlsplit(f"https://host{path}")
    assert (parts.netloc, parts.path, parts.query, parts.fragment) == ("host", path, "", "")
    decoded = path
    for _ in range(5):
        assert posixpath.normpath(decoded.replace("\\", "/")).startswith("/api/pets/")
        decoded = unquote(decoded)


@pytest.mark.parametrize(
    "template",
    [
        *("pets", "", "//evil.example/x", "/a?b=c", "/a#b", "/a b", "/../x", "/a/./b", "/%2e%2e/x"),
        *("/{a", "/a}", "/a\r\nX: y", "/{a/b}"),
    ],
)
def test_a_template_that_is_none_is_refused(template: str) -> None:
    """A document is a stranger's too."""
    with pytest.raises(PathUnusable):
        variables_of(template)


def test_a_template_has_its_variables_in_order() -> None:
    """OpenAPI 3.1, Path Templating; several in one segment."""
    assert variables_of("/a/{b}/{c}.{d}") == ("b", "c", "d")


def test_parts_that_make_dots_together_are_refused() -> None:
    """Each part is harmless, the segment is not."""
    with pytest.raises(PathUnusable):
        build_path("", "/a/{x}.", lambda _: ".")


@pytest.mark.parametrize(("prefix", "expected"), [("", "/a%2Fb/é"), ("/", "/a%2Fb/é"), ("/v1/", "/v1/a%2Fb/é")])
def test_the_prefix_stands_before_every_path(prefix: str, expected: str) -> None:
    """E3: the base path is part of what is fixed; escapes of the document stay, other characters are escaped."""
    assert build_path(prefix, "/a%2Fb/é", str) == expected.replace("é", "%C3%A9")


def test_a_prefix_with_dots_makes_no_path() -> None:
    """E3: assert the final path."""
    with pytest.raises(PathUnusable):
        build_path("/v1/%2e%2e", "/a", str)
