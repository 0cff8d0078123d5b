"""Half a character in JSON text, against Python's own reading of it."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.domain.surrogates import replace_lone_surrogates

HALF = re.compile("[\ud800-\udfff]")
PIECES = ["\ud83d", "\ude00", "\U0001f600", "\\", "u", "ud83d", '"', "é", "x", "\n"]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.booleans())
def test_only_the_lone_halves_change(text: str, upper: bool) -> None:
    """RFC 8259 §8.2: a pair of escapes is one character; a backslash before a backslash begins nothing."""
    document = json.dumps({"a": text})
    if upper:
        document = re.sub(r"\\u[0-9a-f]{4}", lambda found: "\\u" + found[0][2:].upper(), document)
    read = json.loads(document)["a"]

    mended = replace_lone_surrogates(document.encode())

    assert json.loads(mended)["a"] == HALF.sub("\ufffd", read)
    assert (mended == document.encode()) == (HALF.search(read) is None)


def test_a_document_without_any_is_the_same_object() -> None:
    """So that whoever tried to mend one knows that there was nothing to mend."""
    for document in (b"{", b'{"a":"\\ud83d\\ude00"}', b'{"a":"\\\\ud83d"}'):
        assert replace_lone_surrogates(document) is document
