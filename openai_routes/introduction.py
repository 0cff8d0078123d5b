"""What `mcp-gateway` says when the tenant has no provider: who it is, and which tools there are. No model is asked.

Descriptions come from tool servers, so they are quoted as plain text: control and direction characters are removed and
the length is bounded.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

DESCRIPTION_LIMIT: Final = 240
ASKS_FOR_TOOLS: Final = re.compile(
    r"\b(tools?|functions?|abilit(y|ies)|capabilit(y|ies)|servers?|help|what can you do|werkzeuge?)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ToolSummary:
    """A tool as people read about it."""

    name: str
    description: str


def plain(text: str, limit: int = DESCRIPTION_LIMIT) -> str:
    """One line of `text` without control, format or direction characters, at most `limit` characters."""
    line = "".join(c for c in " ".join(text[: limit * 4].split()) if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def introduce(question: str, tools: Sequence[ToolSummary], tenant: str) -> Iterator[str]:
    """The answer to `question`, piece by piece, as Markdown."""
    named = [tool for tool in tools if tool.name in question]
    if named:
        yield from _lines(named)
        return
    if not ASKS_FOR_TOOLS.search(question):
        yield (
            f"I am the gateway of {plain(tenant)}. No language model is connected to me yet, so I cannot chat, "
            "but I can tell you which tools are here. An administrator connects a model by adding a provider.\n\n"
        )
    if not tools:
        yield "No tools are available: no tool server is connected, or none of them has answered yet.\n"
        return
    yield "1 tool is available:\n" if len(tools) == 1 else f"{len(tools)} tools are available:\n"
    yield from _lines(tools)
    yield "\nAny MCP client that is connected to this gateway can call them.\n"


def _lines(tools: Sequence[ToolSummary]) -> Iterator[str]:
    for tool in tools:
        described = plain(tool.description)
        yield f"- `{tool.name}`: {described}\n" if described else f"- `{tool.name}`\n"
