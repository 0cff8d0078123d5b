"""The parameters that the gateway reads, and only those; the rest of `params` stays bytes.

A field of the wrong shape is refused here by name. What it means is for the legs.
"""

import re
from typing import Any, Final, TypeVar

import msgspec

from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.errors import Refusal

PROTOCOL_VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_INFO_KEY: Final = "io.modelcontextprotocol/clientInfo"
CLIENT_CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"

LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
MaybeRaw = msgspec.Raw | msgspec.UnsetType


class InitializeParameters(msgspec.Struct, rename="camel"):
    """`initialize`. Everything may be missing: clients probe with an empty object."""

    protocol_version: str = ""
    capabilities: MaybeRaw = msgspec.UNSET
    client_info: MaybeRaw = msgspec.UNSET


class CallParameters(msgspec.Struct):
    """`tools/call`."""

    name: str
    arguments: MaybeRaw = msgspec.UNSET


class ListParameters(msgspec.Struct):
    """`tools/list` and the other lists."""

    cursor: str | None = None


class UriParameters(msgspec.Struct):
    """`resources/subscribe` and `resources/unsubscribe`."""

    uri: str


class LevelParameters(msgspec.Struct):
    """`logging/setLevel`."""

    level: str


class SubscriptionFilter(msgspec.Struct, rename="camel"):
    """What a client of 2026-07-28 wants to be told."""

    tools_list_changed: bool | None = None
    prompts_list_changed: bool | None = None
    resources_list_changed: bool | None = None
    resource_subscriptions: list[str] | None = None


class SubscriptionParameters(msgspec.Struct):
    """`subscriptions/listen`."""

    notifications: SubscriptionFilter


class InputParameters(msgspec.Struct, rename="camel"):
    """What a client sends with a retry (MCP 2026-07-28, Multi Round-Trip Requests)."""

    request_state: MaybeRaw = msgspec.UNSET
    input_responses: MaybeRaw = msgspec.UNSET


class CancelledParameters(msgspec.Struct):
    """`notifications/cancelled`."""

    request_id: int | str | None = msgspec.field(name="requestId", default=None)


class EnvelopeParameters(msgspec.Struct):
    """What every modern request carries, and the fields that `Mcp-Name` repeats."""

    meta: MaybeRaw = msgspec.field(name="_meta", default=msgspec.UNSET)
    name: MaybeRaw = msgspec.UNSET
    uri: MaybeRaw = msgspec.UNSET
    task_id: MaybeRaw = msgspec.field(name="taskId", default=msgspec.UNSET)


class EnvelopeMeta(msgspec.Struct):
    """The reserved keys of `_meta` (MCP 2026-07-28, Per-request protocol fields)."""

    protocol_version: MaybeRaw = msgspec.field(name=PROTOCOL_VERSION_KEY, default=msgspec.UNSET)
    client_info: MaybeRaw = msgspec.field(name=CLIENT_INFO_KEY, default=msgspec.UNSET)
    client_capabilities: MaybeRaw = msgspec.field(name=CLIENT_CAPABILITIES_KEY, default=msgspec.UNSET)


P = TypeVar("P", bound=msgspec.Struct)

_DECODERS: Final[dict[type[msgspec.Struct], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        InitializeParameters,
        CallParameters,
        ListParameters,
        UriParameters,
        LevelParameters,
        CancelledParameters,
        InputParameters,
        SubscriptionParameters,
        EnvelopeParameters,
        EnvelopeMeta,
    )
}
_MISSING: Final = re.compile(r"missing required field `([^`]+)`")
_WRONG: Final = re.compile(r"Expected `([^`]+)`, got `([^`]+)`(?: - at `\$\.([^`]+)`)?")


def decode_parameters(kind: type[P], raw: bytes, *, where: str = "params") -> P:
    """Read an object's fields.

    Raises:
        Refusal: -32602 naming the field and what was expected.
    """
    try:
        parameters: P = _DECODERS[kind].decode(raw)
    except msgspec.DecodeError as error:
        raise invalid_parameters(_describe(str(error), where)) from None
    return parameters


def optional_object(value: MaybeRaw, name: str) -> bytes:
    """The raw JSON of an object; `{}` when it is absent or null.

    Raises:
        Refusal: -32602 when it is anything else.
    """
    if value is msgspec.UNSET:
        return b"{}"
    raw = bytes(value)
    if not raw.startswith(b"{"):
        if raw == b"null":
            return b"{}"
        raise invalid_parameters(f"{name}: expected an object")
    return raw


def invalid_parameters(reason: str) -> Refusal:
    """-32602 with a reason that names the field."""
    return Refusal(200, wire.INVALID_PARAMS, f"Invalid params: {reason}")


def _describe(library: str, where: str) -> str:
    missing = _MISSING.search(library)
    if missing is not None:
        return f"{where}.{missing[1]}: missing"
    wrong = _WRONG.search(library)
    if wrong is None:
        return f"{where}: malformed"
    field = f"{where}.{wrong[3]}" if wrong[3] else where
    return f"{field}: expected {wrong[1]}, got {wrong[2]}"
