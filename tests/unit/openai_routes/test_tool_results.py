"""What the model reads of a tool result, for every kind of content (issue 4, the loop; compatibility D7)."""

from typing import Any

import msgspec
import pytest

from openai_routes.tool_results import cut, read_result

PNG = "iVBORw0KGgo="


def read(content: Any, *, sees_images: bool = False, limit: int = 10_000, **more: Any) -> Any:
    """The outcome of a result with this content."""
    return read_result(msgspec.json.encode({"content": content, **more}), sees_images=sees_images, limit=limit)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([], "(the tool returned nothing)"),
        ([{"type": "image", "data": PNG, "mimeType": "image/png"}], "[image image/png, 8 bytes]"),
        ([{"type": "audio", "data": PNG, "mimeType": "audio/wav"}], "[audio audio/wav, 8 bytes]"),
        ([{"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}}], "[resource file:///a]\ninside"),
        (
            [{"type": "resource", "resource": {"uri": "file:///a", "blob": PNG, "mimeType": "application/zip"}}],
            "[resource file:///a application/zip, 8 bytes]",
        ),
        (
            [{"type": "resource_link", "uri": "file:///a", "name": "a.txt", "description": "A file"}],
            "[resource a.txt file:///a A file]",
        ),
        ([{"type": "hologram"}], "[hologram content that cannot be shown]"),
    ],
)
def test_every_kind_of_content_leaves_a_word(content: Any, expected: str) -> None:
    """openai-clients.md, recommended loop 6: nothing is dropped silently."""
    assert read(content).text == expected


def test_structured_content_is_added_only_when_the_text_does_not_say_it() -> None:
    """openai-clients.md §1c: the rule of Open WebUI."""
    told = [{"type": "text", "text": '{ "a": 1 }'}]
    assert read(told, structuredContent={"a": 1}).text == '{ "a": 1 }'
    assert read([{"type": "text", "text": "5"}], structuredContent={"result": 5}).text == "5"
    assert read([{"type": "text", "text": "ok"}], structuredContent={"a": 1}).text == 'ok\n{"a":1}'
    assert read([], structuredContent={"a": 1}).text == '{"a":1}'


def test_images_go_beside_the_text_for_models_that_see() -> None:
    """Tool messages of the chat shape are text only."""
    outcome = read([{"type": "image", "data": PNG, "mimeType": "image/png"}], sees_images=True)
    assert outcome.images == (f"data:image/png;base64,{PNG}",)
    assert outcome.text == "[image image/png, 8 bytes, shown below as image 1]"
    assert read([{"type": "image", "data": PNG, "mimeType": "image/tiff"}], sees_images=True).images == ()


def test_an_error_is_marked() -> None:
    """Compatibility D7."""
    outcome = read([{"type": "text", "text": "broke"}], isError=True)
    assert (outcome.text, outcome.is_error) == ("[tool error] broke", True)


def test_five_megabytes_are_cut_with_a_note_of_how_much_is_missing() -> None:
    """Issue 4, done when: a tool that returns 5 MB."""
    outcome = read([{"type": "text", "text": "é" * 2_500_000}], limit=1001)
    assert outcome.text.startswith("é" * 500 + "\n")
    assert outcome.text.endswith("[cut: the first 1001 of 5000000 bytes are shown]")
    assert cut("x" * 1001, 1001) == "x" * 1001


@pytest.mark.parametrize("raw", [b"5", b"{", b'{"content":5}', b'{"content":["x"]}', b"[" * 5000])
def test_what_cannot_be_read_is_an_error_for_the_model(raw: bytes) -> None:
    """Security, incident 15: malformed input ends nothing else."""
    assert read_result(raw, sees_images=False).is_error
