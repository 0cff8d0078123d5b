"""What is known of the client behind a call, as far as a backend may come to know it. No token, no address."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

SERVER_REQUESTS: Final = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
"""Requests that a server may send to its client, and the capability under which the client declares each."""

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
            return Declared(NO_CAPABILITIES, frozenset())
        return _read_declared(self.capabilities_json, self.relays_server_requests)


@dataclass(frozen=True, slots=True)
class Declared:
    """Capabilities as a JSON object, in one spelling per meaning, and the server requests they allow."""

    json: bytes
    methods: frozenset[str]


NOTHING_DECLARED: Final = Declared(NO_CAPABILITIES, frozenset())
_fields: Final = msgspec.json.Decoder(dict[str, object])
_raw_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder: Final = msgspec.json.Encoder(order="sorted")


@lru_cache(maxsize=1024)
def _read_declared(capabilities_json: bytes, relays: bool) -> Declared:
    """Clients repeat the same few objects for ever; reading each once is a memo, not state."""
    try:
        declared = _fields.decode(capabilities_json or NO_CAPABILITIES)
    except (msgspec.DecodeError, RecursionError):
        return NOTHING_DECLARED
    if not relays:
        declared = {name: value for name, value in declared.items() if name not in SERVER_REQUESTS.values()}
    methods = frozenset(method for method, capability in SERVER_REQUESTS.items() if capability in declared)
    return Declared(_encoder.encode(declared), methods)


@lru_cache(maxsize=1024)
def without_tasks(capabilities_json: bytes) -> bytes:
    """Capabilities without the extension for tasks; the very same when they do not have it."""
    if TASKS.encode() not in capabilities_json:
        return capabilities_json
    try:
        declared = _raw_fields.decode(capabilities_json)
        extensions = _raw_fields.decode(declared["extensions"])
        del extensions[TASKS]
    except (msgspec.DecodeError, RecursionError, KeyError):
        return capabilities_json
    declared["extensions"] = msgspec.Raw(_encoder.encode(extensions))
    return _encoder.encode(declared)
