"""Fetches the document of an OpenAPI service from where its definition says. What it means is read elsewhere."""

import asyncio
from dataclasses import dataclass
from typing import Final

from gateway_proxy.backends.faults import relay_error
from gateway_proxy.backends.openapi.plan import MAX_DOCUMENT
from gateway_proxy.backends.runner_http import read_retry_after
from gateway_proxy.backends.upstream_session import Endpoint
from gateway_proxy.domain.errors import (
    BackendMisbehaved,
    BackendRefusedCredentials,
    BackendTimeout,
    BackendUnavailable,
    EgressError,
    ReplyTooLarge,
)
from gateway_proxy.egress.exchange import Reply

FETCH_SECONDS: Final = 30.0
_ACCEPT: Final = "application/json, application/yaml;q=0.9, */*;q=0.8"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document as it came; `etag` allows to ask later whether it is still the same."""

    body: bytes
    etag: str | None


async def fetch_document(endpoint: Endpoint, backend: str, *, etag: str | None = None) -> Fetched | None:
    """GET the document; None when it is the one with `etag`. At most `MAX_DOCUMENT` bytes and `FETCH_SECONDS`.

    Raises:
        BackendUnavailable, BackendMisbehaved, BackendTimeout, BackendRefusedCredentials: It could not be had.
    """
    headers = endpoint.headers.plus(("accept", _ACCEPT), *([("if-none-match", etag)] if etag else []))
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            reply = await endpoint.http.send("GET", endpoint.path, headers, b"", timeout=FETCH_SECONDS)
            try:
                if reply.status == 304 and etag:
                    return None
                _check(reply, backend)
                body = await reply.read(limit=MAX_DOCUMENT, timeout=FETCH_SECONDS)
                return Fetched(body, _usable_etag(reply.header("etag")))
            finally:
                await reply.close()
    except TimeoutError:
        raise BackendTimeout(backend, FETCH_SECONDS) from None
    except ReplyTooLarge:
        fault = f"its OpenAPI document is over {MAX_DOCUMENT // (1024 * 1024)} MiB"
        raise BackendUnavailable(backend, None, fault) from None
    except EgressError as error:
        raise relay_error(backend, error, seconds=FETCH_SECONDS) from None


def _check(reply: Reply, backend: str) -> None:
    status = reply.status
    if status in (401, 403):
        raise BackendRefusedCredentials(backend)
    if 300 <= status < 400:
        raise BackendMisbehaved(backend, "its OpenAPI document is a redirect, and redirects are not followed")
    if status != 200:
        retry_after = read_retry_after(reply.header("retry-after"))
        raise BackendUnavailable(backend, retry_after, f"its OpenAPI document was answered with status {status}")
    if reply.header("content-encoding") not in (None, "identity"):
        raise BackendMisbehaved(backend, "its OpenAPI document is compressed although we asked for plain")


def _usable_etag(etag: str | None) -> str | None:
    """An ETag that may be sent back."""
    return etag if etag and len(etag) <= 256 and etag.isascii() and etag.isprintable() else None
