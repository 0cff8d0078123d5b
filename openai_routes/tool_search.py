"""More tools than a provider takes: whole servers stay, the rest is found through two functions. Never a silent cut."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

SEARCH: Final = "search_tools"
CALL: Final = "call_tool"
FOUND_LIMIT: Final = 10
SCHEMA_LIMIT: Final = 8000
WORD: Final = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A tool as the model sees it. `catalog_name` is what the router knows, `server` the part before the separator."""

    name: str
    catalog_name: str
    server: str
    description: str
    parameters: dict[str, Any]


def split_tools(tools: Sequence[FunctionTool], room: int) -> tuple[list[FunctionTool], list[FunctionTool]]:
    """Those that fit into `room` as whole servers, smallest first, and those that do not; both in the given order."""
    if len(tools) <= room:
        return list(tools), []
    room -= 2
    sizes: dict[str, int] = {}
    for tool in tools:
        sizes[tool.server] = sizes.get(tool.server, 0) + 1
    kept: set[str] = set()
    for server in sorted(sizes, key=lambda name: (sizes[name], name)):
        if sizes[server] > room:
            break
        kept.add(server)
        room -= sizes[server]
    return [t for t in tools if t.server in kept], [t for t in tools if t.server not in kept]


def search_function(name: str, hidden: Sequence[FunctionTool]) -> dict[str, Any]:
    """The function that finds hidden tools. Its description names every server that is behind it."""
    counts: dict[str, int] = {}
    for tool in hidden:
        counts[tool.server] = counts.get(tool.server, 0) + 1
    servers = ", ".join(f"{server} ({count})" for server, count in sorted(counts.items()))
    return {
        "name": name,
        "description": f"Find one of {len(hidden)} further tools, of these servers: {servers}. "
        f"Returns names, descriptions and parameters; run one with {CALL}.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string", "description": "What the tool should do, in a few words."}},
            "required": ["query"],
        },
    }


def call_function(name: str) -> dict[str, Any]:
    """The function that runs a tool that was found."""
    return {
        "name": name,
        "description": f"Run a tool that {SEARCH} found.",
        "parameters": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "The tool's name, exactly as found."},
                "arguments": {"type": "object", "description": "The tool's arguments, as its parameters say."},
            },
            "required": ["name", "arguments"],
        },
    }


def search(hidden: Iterable[FunctionTool], query: str) -> str:
    """The best matches for `query` as JSON text: words in the name count most, then server, then description."""
    words = set(WORD.findall(query.lower()))
    scored = []
    for tool in hidden:
        name, described = set(WORD.findall(tool.name.lower())), set(WORD.findall(tool.description.lower()))
        score = 4 * len(words & name) + len(words & described)
        score += sum(1 for word in words if len(word) > 3 and word in tool.name.lower())
        scored.append((score, tool))
    best = sorted((pair for pair in scored if pair[0] or not words), key=lambda pair: (-pair[0], pair[1].name))
    if not best:
        servers = sorted({tool.server for _, tool in scored})
        return f"No tool matches. The servers are: {', '.join(servers)}."
    return msgspec.json.encode([_described(tool) for _, tool in best[:FOUND_LIMIT]]).decode()


def _described(tool: FunctionTool) -> dict[str, Any]:
    found: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    if len(msgspec.json.encode(tool.parameters)) > SCHEMA_LIMIT:
        found["parameters"] = {"type": "object", "description": "too long to show; names only"} | {
            "properties": {name: {} for name in list(tool.parameters.get("properties", {}))[:100]}
        }
    return found
