"""The launch specification: what the gateway sends to have a child (`PUT /children/{key}`), checked field by field.

Every refusal names the field and what was expected; no value is ever repeated, since values may be secrets.
"""

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from gateway_proxy.runner.errors import SpecInvalid
from gateway_proxy.runner.framing import Charset, ErrorHandler

_AT: Final = re.compile(r"^(?P<what>.*) - at `(?P<where>.*)`$")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_ARGV_BYTES: Final = 128 * 1024

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class LaunchSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one child is started and how far it may go. Times in seconds, sizes in bytes.

    `exclusive` says that all calls on this child are of one MCP session, so that a request of the server may be
    sent on any of them; without it such a request is passed on only when exactly one call is in flight.
    `connect_to` are the addresses that an SSE backend's host may be reached at, checked by the gateway's egress guard.
    """

    tenant: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    label: Annotated[str, msgspec.Meta(max_length=300)] = ""
    transport: Literal["stdio", "sse"] = "stdio"
    command: str | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = {}
    encoding: str = "utf-8"
    encoding_error_handler: ErrorHandler = "strict"
    start_timeout: Seconds = 60.0
    idle_timeout: Seconds = 900.0
    memory_bytes: Annotated[int, msgspec.Meta(ge=16 * 1024 * 1024)] | None = None
    max_per_tenant: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 20
    exclusive: bool = False
    connect_to: list[str] | None = None

    def __repr__(self) -> str:
        return f"LaunchSpec(label={self.label!r}, transport={self.transport!r})"


class CacheOwner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose cache it is: the tenant and the label of launch specifications."""

    tenant: str
    label: str


_decode: Final = msgspec.json.Decoder(LaunchSpec).decode


def read_spec(body: bytes) -> LaunchSpec:
    """Decode and check a specification.

    Raises:
        SpecInvalid: Names the first field that does not fit.
    """
    try:
        spec = _decode(body)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpecInvalid("body", "a JSON object") from error
    if spec.transport == "stdio":
        _check_stdio(spec)
    else:
        _check_sse(spec)
    return spec


def read_owner(body: bytes) -> CacheOwner:
    """Decode whose cache is meant.

    Raises:
        SpecInvalid: Names the first field that does not fit.
    """
    try:
        return msgspec.json.decode(body, type=CacheOwner)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SpecInvalid("body", "a JSON object") from error


def _named(complaint: str) -> SpecInvalid:
    """Turn msgspec's "Expected `str`, got `int` - at `$.args[...]`" into a field and an expectation."""
    found = _AT.match(complaint)
    what, where = (found["what"], found["where"].removeprefix("$.")) if found else (complaint, "body")
    if "unknown field" in what or "missing required field" in what:
        field = what.rsplit("`", 2)[1]
        return SpecInvalid(field, "no field of that name" if "unknown" in what else "a value")
    if "enum value" in what:
        return SpecInvalid(where, "one of the documented values")
    return SpecInvalid(where, what.removeprefix("Expected ").split(", got")[0])


def _check_stdio(spec: LaunchSpec) -> None:
    if not spec.command:
        raise SpecInvalid("command", "a command name or path (transport stdio)")
    for field, values in (("command", [spec.command]), ("args", spec.args), ("env", list(spec.env.values()))):
        if any("\0" in value for value in values):
            raise SpecInvalid(field, "text without NUL bytes")
    if sum(map(len, spec.args)) + sum(len(k) + len(v) for k, v in spec.env.items()) > _ARGV_BYTES:
        raise SpecInvalid("args", f"args and env of at most {_ARGV_BYTES} bytes together")
    if not all(_ENV_NAME.match(name) for name in spec.env):
        raise SpecInvalid("env", "names of letters, digits and underscores")
    if spec.cwd is not None and ("\0" in spec.cwd or not Path(spec.cwd).is_dir()):
        raise SpecInvalid("cwd", "an existing directory on the runner's host")
    if not Charset.is_usable(spec.encoding):
        raise SpecInvalid("encoding", "a text encoding that contains ASCII, such as utf-8 or latin-1")


def _check_sse(spec: LaunchSpec) -> None:
    parts = urlsplit(spec.url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
        raise SpecInvalid("url", "an http or https URL without user name and fragment (transport sse)")
    for name, value in spec.headers.items():
        if not _HEADER_NAME.match(name) or not value.isprintable() or not value.isascii():
            raise SpecInvalid("headers", "printable ASCII header names and values")
