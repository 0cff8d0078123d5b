"""Client ID Metadata Documents: a client whose id is the https URL of its own metadata (MCP 2026-07-28, REG).

The document is fetched only through the egress guard (public addresses, no redirects, 5 s, 64 KiB) and kept in memory
for at most a day. What it says is checked exactly like a registration. No storage.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import (
    EgressError,
)
from gateway_proxy.domain.oauth import Client
from gateway_proxy.domain.oauth_errors import (
    BodyUnreadable,
    ClientDocumentUnusable,
    OAuthError,
)
from gateway_proxy.limits.limiter import Limiter
from gateway_proxy.oauth import client_fields
from gateway_proxy.oauth.errors import to_wire
from gateway_proxy.oauth.known_documents import KNOWN_DOCUMENTS
from gateway_proxy.oauth.registration import read_json_object
from gateway_proxy.oauth.vocabulary import BODY_LIMIT, OAuthConfig

MAXIMUM_ID: Final = 2048
FETCH_SECONDS: Final = 5.0
DAY: Final = 86400.0
SHORTEST: Final = 300.0  # seconds that a document is kept although its host says less
DEFAULT: Final = 3600.0
REFUSAL_KEPT: Final = 300.0
MAXIMUM_CACHED: Final = 512

_ID: Final = re.compile(
    r"https://(?P<host>[A-Za-z0-9.-]+)(?::[0-9]{1,5})?(?P<path>/[A-Za-z0-9\-._~:/@!$&'()+,;=%]+)(?:\?[!-~]*)?"
)
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])")


class FetchedDocument(Protocol):
    """What the egress guard brings back of a 200."""

    @property
    def body(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class DocumentFetcher(Protocol):
    """The part of the egress guard that is used here."""

    async def fetch_document(self, url: str, *, max_bytes: int = 65536, timeout: float = 5.0) -> FetchedDocument:
        """GET a public https document, or raise an EgressError."""


@dataclass(frozen=True, slots=True)
class _Kept:
    client: Client | None
    fault: str
    until: float


@dataclass
class ClientMetadataDocuments:
    """Turns a URL client id into a client. One per process: holds a bounded cache, successes and refusals alike."""

    config: OAuthConfig
    fetcher: DocumentFetcher
    clock: Clock
    limiter: Limiter
    _kept: OrderedDict[str, _Kept] = field(default_factory=OrderedDict)
    _underway: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def get(self, client_id: str, *, address: str) -> Client:
        """The client that a document describes; `address` is who caused the fetch, for the limit.

        Raises:
            ClientDocumentUnusable: It could not be fetched, or what it says cannot be accepted.
            RateLimited: This address causes too many fetches.
        """
        kept = self._find_kept(client_id)
        if kept is None:
            async with self._underway.setdefault(client_id, asyncio.Lock()):
                try:
                    kept = self._find_kept(client_id) or await self._load(client_id, address)
                finally:
                    self._underway.pop(client_id, None)
        if kept.client is None:
            raise ClientDocumentUnusable(host_of(client_id), kept.fault)
        return kept.client

    def _find_kept(self, client_id: str) -> _Kept | None:
        kept = self._kept.get(client_id)
        if kept is None or kept.until <= self.clock.monotonic():
            return None
        self._kept.move_to_end(client_id)
        return kept

    async def _load(self, client_id: str, address: str) -> _Kept:
        config = self.config
        await self.limiter.hit(
            "client_document", address, limit=config.document_fetch_limit, window=config.limit_window
        )
        fault, seconds = "", REFUSAL_KEPT
        client: Client | None = None
        try:
            document = await self.fetcher.fetch_document(client_id, max_bytes=BODY_LIMIT, timeout=FETCH_SECONDS)
            client = self._read(client_id, read_json_object(document.body, document.headers.get("content-type", "")))
            seconds = _seconds_to_keep(document)
        except EgressError:
            fault = "it could not be fetched"
        except BodyUnreadable:
            fault = "it is not a JSON object"
        except ClientDocumentUnusable as reason:
            fault = reason.fault
        except OAuthError as reason:
            fault = to_wire(reason).description.rstrip(".")
        if client is None and client_id in KNOWN_DOCUMENTS:
            client = self._read(client_id, KNOWN_DOCUMENTS[client_id])
        kept = _Kept(client, fault, self.clock.monotonic() + seconds)
        self._kept[client_id] = kept
        while len(self._kept) > MAXIMUM_CACHED:
            self._kept.popitem(last=False)
        return kept

    def _read(self, client_id: str, fields: client_fields.Fields) -> Client:
        if fields.get("client_id") != client_id:
            raise ClientDocumentUnusable(host_of(client_id), "its client_id is not its own URL")
        if "client_secret" in fields or not client_fields.can_be_public(fields):
            raise ClientDocumentUnusable(host_of(client_id), "only the authentication method none fits a document")
        redirect_uris = client_fields.read_redirect_uris(fields)
        return Client(
            id=client_id,
            kind="metadata_document",
            name=client_fields.read_name(fields, redirect_uris),
            redirect_uris=redirect_uris,
            grant_types=client_fields.read_grant_types(fields),
            response_types=client_fields.read_response_types(fields),
            auth_method="none",
            application_type=client_fields.read_application_type(fields, redirect_uris),
            scope=client_fields.read_scope(fields),
            client_uri=client_fields.read_client_uri(fields),
            secret_digest=None,
            created_at=self.clock.now(),
            expires_at=None,
        )


def is_document_url(client_id: str) -> bool:
    """Whether a client id is a metadata document's URL: https, a path, no fragment, no user, no dot segments."""
    match = _ID.fullmatch(client_id)
    if match is None or len(client_id) > MAXIMUM_ID:
        return False
    segments = match["path"].replace("%2e", ".").replace("%2E", ".").split("/")
    return "." not in segments and ".." not in segments and "#" not in client_id


def host_of(client_id: str) -> str:
    """The host of a document URL, to show and to log."""
    match = _ID.fullmatch(client_id)
    return match["host"].lower() if match is not None else ""


def _seconds_to_keep(document: FetchedDocument) -> float:
    """How long the host lets us keep it (RFC 9111), within five minutes and a day."""
    match = _MAX_AGE.search(document.headers.get("cache-control", "").lower())
    return DEFAULT if match is None else min(DAY, max(SHORTEST, float(match[1])))
