"""A request on its way upstream: the caller's params with the few members replaced that must be ours."""

import base64
import binascii
import re
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Raw

from gateway_proxy.backends.caller import Caller
from gateway_proxy.backends.envelope import (
    MODERN_META,
    Fields,
    one_line,
    quote,
    raw_bytes,
    read_fields,
    write_fields,
)

MODERN_VERSION: Final = "2026-07-28"
LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
_NAMED_BY: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    **dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId"),
}
_PLAIN_HEADER: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_SENTINEL: Final = re.compile(r"=\?base64\?(.*)\?=")
_HEADER_TEXT: Final = re.compile(r"[\t\x20-\x7e]*")
_TOKEN_BEGINS: Final = frozenset(bytes([byte]) for byte in b'"-0123456789')
GATEWAY_INFO: Final = b'{"name":"gateway-proxy","version":"1"}'


class UpstreamRequest(msgspec.Struct):
    """One request for a backend, not yet bound to an upstream session. A Struct, because every call makes one.

    `fields` are the members of `params` with their raw values, names already those of the backend; `meta` the members
    of `_meta` without the progress token, which is `progress_token` (raw JSON, empty when the caller sent none).
    `param_headers` are arguments that a backend of 2026-07-28 wants as headers, too.
    """

    method: str
    fields: Fields
    meta: Fields | None = None
    progress_token: bytes = b""
    param_headers: list[tuple[str, str]] = []

    def write_params(self, token: bytes, *, modern: bool, caller: Caller, capabilities: bytes) -> bytes:
        """The params for one upstream session. `token` is our progress token, used only if the caller sent one.

        A session of the handshake era never sees the reserved keys of 2026-07-28, whatever the caller declares: servers
        refuse them there, and some callers repeat them under a header of the older era.
        """
        meta = dict(self.meta) if self.meta else {}
        if self.progress_token:
            meta["progressToken"] = Raw(token)
        if modern:
            _put_modern(meta, caller, capabilities)
        else:
            if caller.modern:
                self.fields.pop("inputResponses", None)
            for name in MODERN_META:
                meta.pop(name, None)
        if meta or self.meta is not None:
            self.fields["_meta"] = Raw(write_fields(meta))
        return one_line(write_fields(self.fields))

    def header_pairs(self) -> list[tuple[str, str]]:
        """The routing headers of 2026-07-28, equal to what the body says."""
        pairs = [("mcp-method", header_value(self.method))]
        member = self.fields.get(_NAMED_BY.get(self.method, ""))
        if member is not None:
            pairs.append(("mcp-name", header_value(_text_of(member))))
        return pairs + self.param_headers


def read_request(method: str, params: bytes, *, replace: dict[str, str] | None = None) -> UpstreamRequest:
    """Take a caller's params apart; `replace` gives members new string values (the routed name).

    Raises:
        ValueError: `params` or its `_meta` is not a JSON object.
    """
    fields = read_fields(params) if params else {}
    for name, text in (replace or {}).items():
        fields[name] = _quoted(text)
    raw_meta = fields.pop("_meta", None)
    if raw_meta is None or bytes(raw_meta) == b"null":
        return UpstreamRequest(method, fields)
    meta = read_fields(raw_meta)
    token = meta.pop("progressToken", None)
    return UpstreamRequest(method, fields, meta, _read_token(raw_bytes(token)) if token is not None else b"")


def _read_token(raw: bytes) -> bytes:
    """A progress token; none for what the specification lets no token be, null above all, which some clients write."""
    return raw if raw[:1] in _TOKEN_BEGINS else b""


@lru_cache(maxsize=4096)
def _quoted(text: str) -> Raw:
    """Names are few and come again with every call."""
    return Raw(quote(text))


def header_value(text: str) -> str:
    """A value as it may stand in a header, in the `=?base64?…?=` form if it must (2026-07-28, Header Encoding)."""
    if _PLAIN_HEADER.fullmatch(text) and not text.startswith("=?base64?"):
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8', 'replace')).decode('ascii')}?="


def read_header_value(value: str | None) -> str | None:
    """The text that a header stands for (2026-07-28, Value Encoding).

    None for none, for characters that no header may have, and for a malformed or non-canonical sentinel: it equals no
    value of a body then.
    """
    if value is None or not _HEADER_TEXT.fullmatch(value):
        return None
    sentinel = _SENTINEL.fullmatch(value)
    if sentinel is None:
        return value
    try:
        decoded = base64.b64decode(sentinel[1], validate=True)
        return decoded.decode("utf-8") if base64.b64encode(decoded).decode("ascii") == sentinel[1] else None
    except (binascii.Error, ValueError):
        return None


def _put_modern(meta: Fields, caller: Caller, capabilities: bytes) -> None:
    meta["io.modelcontextprotocol/protocolVersion"] = Raw(quote(MODERN_VERSION))
    meta["io.modelcontextprotocol/clientCapabilities"] = Raw(capabilities)
    meta["io.modelcontextprotocol/clientInfo"] = Raw(client_info_of(caller))
    if caller.log_level is not None:
        meta.setdefault(LOG_LEVEL, Raw(quote(caller.log_level)))


def client_info_of(caller: Caller) -> bytes:
    """Who the backend is told is calling: the client, or the gateway when the client did not say."""
    return GATEWAY_INFO if caller.client_info_json in (b"", b"{}") else caller.client_info_json


def _text_of(member: Raw) -> str:
    try:
        return msgspec.json.decode(member, type=str)
    except msgspec.MsgspecError:
        return ""
