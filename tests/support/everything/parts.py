"""What the tools, prompts and resources share: sample media, content blocks, and the shape of a handler."""

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.context import ServerRequestContext

Context = ServerRequestContext[Any, Any]
Json = dict[str, Any]
Handler = Callable[[Context, Json], Awaitable[Json]]
"""From the arguments of a call to its result, both as they stand on the wire."""

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="


def text(value: str) -> Json:
    """A block of text."""
    return {"type": "text", "text": value}


def image() -> Json:
    """A picture of one pixel."""
    return {"type": "image", "data": PNG, "mimeType": "image/png"}


def embedded(uri: str, mime_type: str, value: str) -> Json:
    """A resource inside a result."""
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": value}}


def content(*blocks: Json) -> Json:
    """The result of a tool."""
    return {"content": list(blocks)}


def form(message: str, properties: Json) -> Json:
    """The parameters of an elicitation that asks for all of `properties`."""
    return {
        "message": message,
        "requestedSchema": {"type": "object", "properties": properties, "required": list(properties)},
    }
