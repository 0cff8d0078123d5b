"""Requests of the doctor: one bounded answer each, no redirects followed, and no exceptions for what networks do."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx2

SECONDS: Final = 10.0  # what Claude waits in discovery, registration and token
LARGEST: Final = 8 * 1024 * 1024
DISCOVERY_AGENT: Final = "python-httpx/0.28.1"  # what Claude.ai sends before it has a token
CALLING_AGENT: Final = "Claude-User"  # and with one
ACCEPT: Final = "application/json, text/event-stream"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, or `fault`: why there is none, in a phrase of ours."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    fault: str = ""

    @property
    def kind(self) -> str:
        """The media type."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        with suppress(ValueError, RecursionError):
            return json.loads(self.body)
        return None

    @property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is none."""
        value = self.json
        return value if isinstance(value, dict) else {}

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The JSON-RPC messages of the body, be it JSON or events."""
        if self.kind != "text/event-stream":
            return [self.document] if self.document else []
        found = []
        for line in self.body.decode("utf-8", "replace").splitlines():
            if line.startswith("data:") and line[5:].strip():
                with suppress(ValueError, RecursionError):
                    value = json.loads(line[5:])
                    found += [value] if isinstance(value, dict) else []
        return found

    def __str__(self) -> str:
        if self.fault:
            return self.fault
        kind = "".join(letter for letter in self.kind if letter.isprintable())[:60]
        return f"{self.status} {kind}".strip()


class Visitor:
    """Sends requests. Whatever happens on the way is an `Answer`."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._http = httpx2.AsyncClient(
            verify=trust, follow_redirects=False, trust_env=False, headers={"user-agent": DISCOVERY_AGENT}
        )

    async def __aenter__(self) -> "Visitor":
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._http.aclose()

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        form: Mapping[str, str] | None = None,
        until: bytes = b"",
        seconds: float = SECONDS,
    ) -> Answer:
        """One request. With `until` the body is read no further than to these bytes (of a stream that stays open).

        `seconds` are for each wait; the whole may take three times as long.
        """
        given: dict[str, Any] = {"headers": dict(headers or {}), "json": json, "data": form, "timeout": seconds}
        try:
            async with asyncio.timeout(3 * seconds), self._http.stream(method, url, **given) as response:
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > LARGEST:
                        return Answer(fault="the answer is longer than 8 MiB")
                    if until and until in body:
                        break
                names = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, names, bytes(body))
        except (httpx2.TimeoutException, TimeoutError):
            return Answer(fault=f"no answer within {seconds:.0f} s")
        except httpx2.ConnectError:
            return Answer(fault="no connection")
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
            return Answer(fault="the connection broke, or what came is no HTTP")


def split_url(url: str) -> SplitResult:
    """The parts of a URL that the other side wrote; all of them empty if it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def join_url(url: str, reference: str) -> str:
    """Where a reference (of a redirect) leads; the reference itself if it is none."""
    try:
        return urljoin(url, reference)
    except ValueError:
        return reference


def origin_of(url: str) -> str:
    """Scheme, host and port."""
    parts = split_url(url)
    return f"{parts.scheme}://{parts.netloc}"
