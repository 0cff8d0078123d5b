"""What is known of the client behind a call, as far as a backend may come to know it. No token, no address."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

SERVER_REQUESTS: Final = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
"""Requests that a server may send to its client, and the capability under which the client declares each."""

MODES: Final = ("form", "url")
"""How a server may ask the user (2025-11-25, Elicitation). A client that names none of them has forms."""

TASKS: Final = "io.modelcontextprotocol/tasks"
"""The extension whose results are asked for with methods that name no server."""

NO_CAPABILITIES: Final = b"{}"
MAX_CAPABILITIES: Final = 16 * 1024


class Caller(msgspec.Struct, frozen=True):
    """The client of one request. The `*_json` fields are raw JSON objects; `session_id` is our MCP session, if any.

    `relays_server_requests` says that the surface can carry a backend's requests (sampling, elicitation, roots) to
    the client and the answers back. Without it no backend is told of those capabilities. `surface` is for metrics.
    `only_backend` is the id of the one to which the request's `requestState` belongs. `param_headers` are the
    `mcp-param-*` headers as they came (None: twice); None altogether for a transport or era without them.
    `log_level` is what a legacy client has set for its session; a modern one says it in each request's `_meta`.
    A Struct, because one is made for every call: a frozen dataclass of ten fields costs 2 µs (ADR 12).
    """

    session_id: str | None
    protocol_version: str
    client_info_json: bytes
    capabilities_json: bytes
    modern: bool
    relays_server_requests: bool = False
    surface: str = "mcp"
    only_backend: str | None = None
    param_headers: Mapping[str, str | None] | None = None
    log_level: str | None = None

    def declared_raw(self) -> "Declared":
        """All that the client declared, as it wrote it, for a backend that asks nothing by itself (2026-07-28)."""
        if len(self.capabilities_json) > MAX_CAPABILITIES:
            return NOTHING_DECLARED
        return Declared(self.capabilities_json, frozenset())

    def declared(self) -> "Declared":
        """What a backend may be told of the client's capabilities."""
        if len(self.capabilities_json) > MAX_CAPABILITIES:
            return NOTHING_DECLARED
        return _read_declared(self.capabilities_json, self.relays_server_requests)

    def declared_in_all(self) -> "Declared":
        """The same, whatever the surface can carry to the client."""
        if len(self.capabilities_json) > MAX_CAPABILITIES:
            return NOTHING_DECLARED
        return _read_declared(self.capabilities_json, relays=True)

    def without_tasks(self) -> "Caller":
        """The caller as one without the extension for tasks; the very same when it did not declare that."""
        written = self.capabilities_json
        if written.find(_TASKS) < 0 or len(written) > MAX_CAPABILITIES:  # so much is told to no backend
            return self
        return msgspec.structs.replace(self, capabilities_json=_without_tasks(written))


class _Question(msgspec.Struct, rename="camel"):
    """What tells one request of a method from another that needs more of the client."""

    mode: str = "form"
    tools: object = None
    tool_choice: object = None


_questions: Final = msgspec.json.Decoder(_Question)


@dataclass(frozen=True, slots=True)
class Declared:
    """Capabilities as a JSON object, in one spelling per meaning, and the server requests they allow.

    `ways` are the modes in which the user can be asked, and `tools` when the model can be asked with tools.
    """

    json: bytes
    methods: frozenset[str]
    ways: frozenset[str] = frozenset()

    def missing_for(self, method: str, params: bytes) -> dict[str, Any]:
        """The capability that the client lacks to be asked this; nothing for requests that no capability is for."""
        name = SERVER_REQUESTS.get(method)
        way = None if name in (None, "roots") else _way_of(name == "elicitation", params)
        if name is None or (method in self.methods and (way is None or way in self.ways)):
            return {}
        return {name: {} if way is None else {way: {}}}


def _way_of(is_elicitation: bool, params: bytes) -> str | None:
    try:
        question = _questions.decode(params or b"{}")
    except (msgspec.MsgspecError, RecursionError):
        return None  # not as the specification has it; the client will say so
    if is_elicitation:
        return question.mode
    return "tools" if question.tools or question.tool_choice else None


NOTHING_DECLARED: Final = Declared(NO_CAPABILITIES, frozenset())
_fields: Final = msgspec.json.Decoder(dict[str, object])
_raw_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder: Final = msgspec.json.Encoder(order="sorted")
_TASKS: Final = TASKS.encode()


@lru_cache(maxsize=1024)
def _read_declared(capabilities_json: bytes, relays: bool) -> Declared:
    """Clients repeat the same few objects for ever; reading each once is a memo, not state. A null declares nothing."""
    try:
        declared = _fields.decode(capabilities_json or NO_CAPABILITIES)
    except (msgspec.DecodeError, RecursionError):
        return NOTHING_DECLARED
    declared = {name: value for name, value in declared.items() if value is not None}
    if not relays:
        declared = {name: value for name, value in declared.items() if name not in SERVER_REQUESTS.values()}
    methods = frozenset(method for method, capability in SERVER_REQUESTS.items() if capability in declared)
    return Declared(_encoder.encode(declared), methods, _read_ways(declared))


def _read_ways(declared: dict[str, object]) -> frozenset[str]:
    ways = set()
    if "elicitation" in declared:
        ways = {mode for mode in MODES if _has(declared["elicitation"], mode)} or {"form"}
    if _has(declared.get("sampling"), "tools"):
        ways.add("tools")
    return frozenset(ways)


def _has(capability: object, name: str) -> bool:
    return isinstance(capability, dict) and capability.get(name) is not None


@lru_cache(maxsize=1024)
def _without_tasks(capabilities_json: bytes) -> bytes:
    try:
        declared = _raw_fields.decode(capabilities_json)
        extensions = _raw_fields.decode(declared["extensions"])
        del extensions[TASKS]
    except (msgspec.DecodeError, RecursionError, KeyError):
        return capabilities_json
    declared["extensions"] = msgspec.Raw(_encoder.encode(extensions))
    return _encoder.encode(declared)
