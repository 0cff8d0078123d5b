"""What the model gets to read of an MCP tool result (MCP 2025-11-25, Tools: tool result), every kind of content.

Tool messages of the chat shape are text only, so images go beside them. Nothing is dropped without a word.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

ERROR_PREFIX: Final = "[tool error] "
RESULT_LIMIT: Final = 256 * 1024
IMAGE_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
IMAGE_LIMIT: Final = 10 * 1024 * 1024  # base64 characters


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a tool call came to: text for the model, and images as `data:` URLs for models that see."""

    text: str
    is_error: bool = False
    images: tuple[str, ...] = ()


class _Result(msgspec.Struct):
    content: list[dict[str, Any]] = []
    structuredContent: Any = None  # noqa: N815 - the name on the wire
    isError: bool = False  # noqa: N815 - the name on the wire


_result: Final = msgspec.json.Decoder(_Result)


def failed(message: str) -> ToolOutcome:
    """An outcome that tells the model what went wrong."""
    return ToolOutcome(ERROR_PREFIX + message, is_error=True)


def read_result(raw: bytes, *, sees_images: bool, limit: int = RESULT_LIMIT) -> ToolOutcome:
    """Turn the raw `result` of tools/call into an outcome of at most `limit` bytes of text."""
    try:
        result = _result.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return failed("the tool's result could not be read")
    images: list[str] = []
    parts = [_part(block, images, sees_images=sees_images) for block in result.content]
    text = "\n".join(part for part in parts if part)
    if result.structuredContent is not None and not _stands_in(result.structuredContent, result.content):
        structured = msgspec.json.encode(result.structuredContent).decode()
        text = f"{text}\n{structured}" if text else structured
    text = cut(text or "(the tool returned nothing)", limit)
    return ToolOutcome(ERROR_PREFIX + text if result.isError else text, result.isError, tuple(images))


def cut(text: str, limit: int) -> str:
    """`text` if it has at most `limit` bytes, else its beginning and a note of how much is missing."""
    if len(text) <= limit // 4:
        return text
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) <= limit:
        return text
    shown = encoded[:limit].decode("utf-8", "ignore")
    return f"{shown}\n[cut: the first {limit} of {len(encoded)} bytes are shown]"


def _part(block: dict[str, Any], images: list[str], *, sees_images: bool) -> str:
    match block:
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": "image", "data": str(data), "mimeType": str(kind)}:
            return _image(data, kind, images, sees_images=sees_images)
        case {"type": "audio", "data": str(data)}:
            return _note("audio", block.get("mimeType"), _size(data))
        case {"type": "resource", "resource": dict(resource)}:
            return _resource(resource, images, sees_images=sees_images)
        case {"type": "resource_link", "uri": str(uri)}:
            named = block.get("title") or block.get("name") or ""
            described = block.get("description") or ""
            return "[" + " ".join(["resource", *(str(word) for word in (named, uri, described) if word)]) + "]"
    return f"[{block.get('type', 'unknown')} content that cannot be shown]"


def _image(data: str, kind: str, images: list[str], *, sees_images: bool) -> str:
    note = _note("image", kind, _size(data))
    if not sees_images or kind not in IMAGE_TYPES or len(data) > IMAGE_LIMIT:
        return note
    images.append(f"data:{kind};base64,{data}")
    return f"{note[:-1]}, shown below as image {len(images)}]"


def _resource(resource: dict[str, Any], images: list[str], *, sees_images: bool) -> str:
    uri, kind = str(resource.get("uri", "")), resource.get("mimeType")
    if isinstance(text := resource.get("text"), str):
        return f"[resource {uri}]\n{text}" if uri else text
    if isinstance(blob := resource.get("blob"), str):
        if isinstance(kind, str) and kind in IMAGE_TYPES:
            return _image(blob, kind, images, sees_images=sees_images)
        return _note(f"resource {uri}", kind, _size(blob))
    return f"[resource {uri}]"


def _note(noun: str, kind: object, size: int) -> str:
    return f"[{noun} {kind or 'of unknown type'}, {size} bytes]"


def _size(encoded: str) -> int:
    """The bytes behind base64 text."""
    return len(encoded) * 3 // 4 - encoded[-2:].count("=")


def _stands_in(structured: Any, content: Iterable[dict[str, Any]]) -> bool:
    """Whether a text block already says what `structuredContent` says, as servers do for older clients."""
    for block in content:
        text = block.get("text")
        if not isinstance(text, str):
            continue
        try:
            said = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            said = text
        if said == structured or (isinstance(structured, dict) and structured == {"result": said}):
            return True
    return False
