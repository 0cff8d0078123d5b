"""Names of tools (contract.md, Names of tools)."""

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.domain.tenant import Naming
from gateway_proxy.router.names import Original, alias_of, listed_names, server_of

SERVERS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,30}", fullmatch=True)
TOOLS = st.text(min_size=1, max_size=90) | st.sampled_from(["a.b", "a_b", "a/b", "x" * 80, "x" * 81, "é", "a b"])
ORIGINALS = st.lists(st.builds(Original, SERVERS, TOOLS), max_size=12, unique=True)
VALID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def suffix_of(server: str, tool: str) -> str:
    """The 8 hex digits that the contract prescribes."""
    return hashlib.sha256(f"{server}__{tool}".encode()).hexdigest()[:8]


@given(ORIGINALS)
def test_every_listed_name_is_one_that_claude_accepts_and_all_differ(originals: list[Original]) -> None:
    """clients.md 9: ^[a-zA-Z0-9_-]{1,64}$, and one bad name hides the whole connector."""
    names = listed_names(originals, Naming())
    assert all(VALID.fullmatch(name) for name in names)
    assert len(set(names)) == len(originals)


@given(ORIGINALS)
def test_a_name_does_not_depend_on_the_order_in_which_backends_list(originals: list[Original]) -> None:
    """contract.md: deterministic."""
    expected = dict(zip(originals, listed_names(originals, Naming()), strict=True))
    shuffled = sorted(originals, key=lambda original: hashlib.md5(repr(original).encode()).digest())
    assert dict(zip(shuffled, listed_names(shuffled, Naming()), strict=True)) == expected


@given(ORIGINALS, ORIGINALS)
def test_the_tools_of_one_server_never_change_the_names_of_another(a: list[Original], b: list[Original]) -> None:
    """T7: what one backend lists is nothing to the others."""
    mine = [Original("mine", original.tool) for original in a]
    mine = list(dict.fromkeys(mine))
    others = [original for original in b if original.server != "mine"]
    together = listed_names(mine + others, Naming())
    assert together[: len(mine)] == listed_names(mine, Naming())


@given(ORIGINALS)
def test_a_plain_name_stays_as_it_is(originals: list[Original]) -> None:
    """contract.md: other characters become `_`; only long and colliding names change otherwise."""
    for original, name in zip(originals, listed_names(originals, Naming()), strict=True):
        full = f"{original.server}__{original.tool}"
        if VALID.fullmatch(full) and not re.search(r"_[0-9a-f]{8}$", full):
            clash = [o for o in originals if o != original and _mangled(o) == full]
            assert name == full or clash


@given(SERVERS, TOOLS)
def test_the_server_can_be_read_from_a_listed_name_and_from_its_alias(server: str, tool: str) -> None:
    """Server names hold neither `_` nor `.`, so the first of them ends the server's name."""
    original = Original(server, tool)
    assert server_of(listed_names([original], Naming())[0]) == server
    assert server_of(alias_of(original)) == server


def test_names_over_64_characters_keep_55_and_take_a_suffix() -> None:
    """contract.md: first 55 + `_` + 8 hex of SHA-256."""
    tool = "x" * 80
    assert listed_names([Original("calc", tool)], Naming()) == [f"calc__{'x' * 49}_{suffix_of('calc', tool)}"]
    assert listed_names([Original("calc", "x" * 58)], Naming()) == [f"calc__{'x' * 58}"]


def test_colliding_names_all_take_the_suffix_of_their_original() -> None:
    """contract.md: names that would collide all take the `_` + 8 hex suffix."""
    originals = [Original("s", "a.b"), Original("s", "a/b"), Original("s", "c")]
    assert listed_names(originals, Naming()) == [
        f"s__a_b_{suffix_of('s', 'a.b')}",
        f"s__a_b_{suffix_of('s', 'a/b')}",
        "s__c",
    ]


def test_a_tool_that_is_named_like_a_suffixed_one_takes_a_suffix_too() -> None:
    """A hostile backend cannot take over the name of another of its tools."""
    squatter = f"a_b_{suffix_of('s', 'a.b')}"
    names = listed_names([Original("s", "a.b"), Original("s", "a/b"), Original("s", squatter)], Naming())
    assert len(set(names)) == 3
    assert names[2] != f"s__{squatter}"


def test_a_dotted_separator_is_the_only_dot() -> None:
    """contract.md: naming.separator "." lists dotted names."""
    assert listed_names([Original("s", "a.b")], Naming("server", ".")) == ["s.a_b"]


def test_without_prefix_names_are_untouched() -> None:
    """contract.md: prefix none leaves names untouched."""
    assert listed_names([Original("s", "a.b/ü" + "x" * 100)], Naming("none")) == ["a.b/ü" + "x" * 100]


def _mangled(original: Original) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "_", f"{original.server}__{original.tool}")
