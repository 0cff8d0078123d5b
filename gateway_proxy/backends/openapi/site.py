"""A service that is known: its operations by tool name, and where each of them is. Built once per document."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Raw

from gateway_proxy.backends.endpoints import Endpoints
from gateway_proxy.backends.faults import relay_error
from gateway_proxy.backends.openapi.fetching import Fetched
from gateway_proxy.backends.openapi.plan import Operation, Plan
from gateway_proxy.backends.openapi.servers import Base, base_of
from gateway_proxy.backends.upstream_session import Endpoint
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import AddressForbidden

_NOTHING: Final = Raw(b"{}")


@dataclass(frozen=True, slots=True)
class Place:
    """An operation, and the path under which it is."""

    operation: Operation
    prefix: str


@dataclass(frozen=True, slots=True)
class Site:
    """A service as its last good document describes it. `listed` is the result of tools/list as raw JSON.

    `cookies` is the Cookie header of the definition; `digest` and `etag` tell whether the document is another now.
    """

    endpoint: Endpoint
    places: Mapping[str, Place]
    cookies: str
    listed: bytes
    notes: tuple[str, ...]
    digest: bytes
    etag: str | None


def build_site(backend: Backend, endpoints: Endpoints, plan: Plan, fetched: Fetched) -> Site:
    """Put a plan where the definition says that its operations are.

    Raises:
        BackendUnavailable: A URL of the definition cannot be used.
    """
    try:
        base = base_of(backend.url or "", plan.server, backend.base_url)
        prefixes = {operation.name: _prefix_of(backend, operation, base) for operation in plan.operations}
    except AddressForbidden as error:
        raise relay_error(backend.name, error, seconds=0) from None
    offered = [operation for operation in plan.operations if prefixes[operation.name] is not None]
    elsewhere = [operation.name for operation in plan.operations if prefixes[operation.name] is None]
    return Site(
        endpoint=endpoints.network(backend, url=base.url),
        places={each.name: Place(_without_definition(each), prefixes[each.name] or "") for each in offered},
        cookies=cookies_of(backend),
        listed=b'{"tools":[%b]}' % b",".join(bytes(operation.definition) for operation in offered),
        notes=(*_notes_on_servers(base, elsewhere), *plan.notes),
        digest=digest_of(fetched.body),
        etag=fetched.etag,
    )


def digest_of(document: bytes) -> bytes:
    """What tells one document from another."""
    return hashlib.sha256(document).digest()


def cookies_of(backend: Backend) -> str:
    """The Cookie header of a definition."""
    return next((value for name, value in backend.headers.items() if name.lower() == "cookie"), "")


def _prefix_of(backend: Backend, operation: Operation, base: Base) -> str | None:
    """The path of an operation's server; None when the document puts it alone on another origin."""
    if operation.server is None or backend.base_url is not None:
        return base.prefix
    own = base_of(backend.url or "", operation.server, None)
    return None if own.is_moved and not base.is_moved else own.prefix


def _without_definition(operation: Operation) -> Operation:
    """A definition is in the list already; kept here it would hold on to all that the reader wrote."""
    return msgspec.structs.replace(operation, definition=_NOTHING)


def _notes_on_servers(base: Base, elsewhere: list[str]) -> list[str]:
    notes: list[str] = []
    if base.is_moved:
        notes.append("its document names a server of another origin; calls go to the document's own (see base_url)")
    if elsewhere:
        count, plural = len(elsewhere), "s" if len(elsewhere) > 1 else ""
        notes.append(f"{count} operation{plural} left out: the document puts them on a server of another origin")
    return notes
