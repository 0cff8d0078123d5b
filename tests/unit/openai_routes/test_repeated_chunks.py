"""Text is read out of chunks undecoded only where the decoder would find the same (performance.md, chat)."""

import json
from typing import Any

import msgspec
import pytest

from openai_routes.providers.repeated import RepeatedChunks
from tests.support.llm.scripted import Raw
from tests.support.llm.stage import stage


def chunk(text: str, **more: Any) -> bytes:
    """A chunk as providers write it."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return msgspec.json.encode({"id": "c", "created": 1, "choices": [choice], **more})


def learnt(text: str = "one", **more: Any) -> RepeatedChunks:
    """A reader that has seen one chunk."""
    repeated = RepeatedChunks()
    repeated.learn(chunk(text, **more), text)
    return repeated


@pytest.mark.parametrize("text", ["two", "", " ", "é", "}],", "data: x", "naïve 日本"])
def test_the_text_is_found_where_only_it_has_changed(text: str) -> None:
    """The decoder says the same."""
    assert learnt().find_text(chunk(text)) == text


@pytest.mark.parametrize(
    "given",
    [
        chunk('say "x"'),
        chunk("a\\b"),
        chunk("line\nline"),
        chunk("x", created=2),
        chunk("x").replace(b'"finish_reason":null', b'"finish_reason":"stop"'),
        chunk("x").replace(b'"content":"x"', b'"content":"x","tool_calls":[]'),
        chunk("x").replace(b'"x"', b'"\xff"'),
        chunk("x").replace(b'"x"', b'"a\tb"'),
        chunk("x").replace(b'"x"', b"null"),
        b"",
        b"[DONE]",
    ],
)
def test_everything_else_is_left_to_the_decoder(given: bytes) -> None:
    """Escapes, other fields, what is no JSON."""
    assert learnt().find_text(given) is None


def test_nothing_is_learnt_from_a_text_that_is_escaped_or_not_alone() -> None:
    """What stands around it would not be known for certain."""
    for repeated in (RepeatedChunks(), learnt('"'), learnt("a\\b"), learnt(extra=[{"content": "one"}])):
        assert repeated.find_text(chunk("two")) is None


def test_spaces_behind_colons_are_part_of_what_is_learnt() -> None:
    """Python's own encoder writes them."""
    repeated = RepeatedChunks()
    repeated.learn(json.dumps({"delta": {"content": "one"}}).encode(), "one")
    assert repeated.find_text(json.dumps({"delta": {"content": "two"}}).encode()) == "two"


async def test_a_stream_of_every_kind_of_chunk_is_read_in_order() -> None:
    """Plain pieces before, between and behind others; nothing is lost where the short way is left."""
    words = ["One ", "two ", 'say "three" ', "four\n", "five ", "", "é ", "six"]
    events: list[Any] = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
    events.insert(2, {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]})
    events.append({"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": "length"}]})
    events.append({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    async with stage([Raw(events=[*events, "[DONE]"])]) as on:
        chunks = await on.chunks(messages=[{"role": "user", "content": "Go"}])
        assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "".join(words) + "!"
        assert chunks[-1]["choices"][0]["finish_reason"] == "length"
        assert sum("reasoning_content" in c["choices"][0]["delta"] for c in chunks) == 1
