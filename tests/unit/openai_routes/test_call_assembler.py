"""Tool-call deltas as real servers send them (openai-clients.md §3, recommended loop 1)."""

from typing import Any

import pytest

from openai_routes.call_assembler import CallAssembler, unique_id

Fragment = tuple[int | None, str | None, str | None, Any]


def assemble(*fragments: Fragment) -> list[tuple[str, str]]:
    """(name, arguments) of every call, in order."""
    assembler = CallAssembler()
    calls: dict[int, tuple[str, str]] = {}
    ids: dict[int, str] = {}
    for fragment in fragments:
        delta = assembler.feed(*fragment)
        ids.setdefault(delta.position, delta.id)
        assert ids[delta.position] == delta.id, "the id of a call never changes"
        calls[delta.position] = (delta.name, calls.get(delta.position, ("", ""))[1] + delta.arguments)
    assert sorted(calls) == list(range(len(calls))), "positions have no gaps"
    assert len(set(ids.values())) == len(ids), "no two calls share an id"
    return [calls[position] for position in sorted(calls)]


@pytest.mark.parametrize(
    ("fragments", "expected"),
    [
        pytest.param(
            [(0, "call_a1b2c3d4", "f", ""), (0, None, None, '{"a"'), (0, None, None, ":1}")],
            [("f", '{"a":1}')],
            id="OpenAI: id and name first, arguments in pieces",
        ),
        pytest.param(
            [(0, "call_a1", "f", "{"), (1, "call_e1", "g", "{"), (0, None, None, "}"), (1, None, None, "}")],
            [("f", "{}"), ("g", "{}")],
            id="two calls interleaved by index",
        ),
        pytest.param([(1, "x", "f", "{}"), (3, "y", "g", "{}")], [("f", "{}"), ("g", "{}")], id="indexes with gaps"),
        pytest.param(
            [(None, "x", "f", "{}"), (None, "y", "g", "{}")], [("f", "{}"), ("g", "{}")], id="no index, whole calls"
        ),
        pytest.param(
            [(None, "x", "f", '{"a'), (None, None, None, '":1}'), (None, "y", "g", "{}")],
            [("f", '{"a":1}'), ("g", "{}")],
            id="no index, pieces without an id",
        ),
        pytest.param(
            [(0, "x", "f", '{"a":1}'), (0, "y", "f", '{"a":2}')],
            [("f", '{"a":1}'), ("f", '{"a":2}')],
            id="every call has index 0, ids differ",
        ),
        pytest.param(
            [(None, None, "f", "{}"), (None, None, "g", "{}")],
            [("f", "{}"), ("g", "{}")],
            id="neither index nor id, whole calls",
        ),
        pytest.param(
            [(0, "call_0", "f", "{}"), (1, "call_0", "g", "{}")],
            [("f", "{}"), ("g", "{}")],
            id="the same id twice in one turn",
        ),
        pytest.param([(0, "x", "f", {"a": 1})], [("f", '{"a":1}')], id="arguments as an object"),
        pytest.param([(0, "x", "f", None), (0, None, None, None)], [("f", "")], id="no arguments at all"),
        pytest.param(
            [(0, "x", "get_", None), (0, None, "weather", None), (0, None, None, "{}")],
            [("get_weather", "{}")],
            id="the name in pieces",
        ),
        pytest.param(
            [(0, "x", "f", ""), (0, "x", "f", "{"), (0, "x", "f", "}")], [("f", "{}")], id="the name in every piece"
        ),
        pytest.param(
            [(0, None, "f", ""), (0, "late", None, "{}")], [("f", "{}")], id="the id after the name"
        ),
    ],
)  # fmt: skip
def test_calls_are_merged_whatever_the_numbering(fragments: list[Fragment], expected: list[tuple[str, str]]) -> None:
    """Issue 4, the loop: streamed deltas merged as real servers send them."""
    assert assemble(*fragments) == expected


@pytest.mark.parametrize(
    "given",
    ["call_Ab3dE6fG9", "toolu_01A09q90qw90lq917835lq9", "chatcmpl-tool-0a1b2c3d4e5f6071", "a1B2c3D4e", "1" * 20],
)
def test_an_id_that_looks_random_is_kept(given: str) -> None:
    """The provider may compare it with what it remembers."""
    assert unique_id(given) == given


@pytest.mark.parametrize(
    "given", ["", "0", "call_0", "call_000001", "functions.weather:0", "call_weather_1", "x" * 300]
)
def test_an_id_that_is_counted_is_replaced_by_a_unique_one(given: str) -> None:
    """Results of a mixed batch are kept under these ids: `call_0` of another chat must not find them."""
    first, second = unique_id(given), unique_id(given)
    assert first != second
    assert first.startswith("call_")


def test_a_replaced_short_id_stays_short() -> None:
    """Mistral's API takes back nothing but nine letters and digits."""
    assert len(unique_id("toolcall1")) == 9
