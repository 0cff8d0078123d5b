"""The official Python SDK client against a running gateway, modern and legacy, with no special case for it."""

from collections.abc import AsyncIterator
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import pytest_asyncio
from mcp import ClientSession
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from tests.support.bootstrapped import Bootstrapped, bootstrapped_gateway
from tests.support.visitor import Visitor

REDIRECT = "http://127.0.0.1:49153/callback"
Mode = Literal["auto", "legacy"]


class Memory:
    """Where the SDK keeps its tokens and its registration."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Person:
    """Opens what the SDK asks to be opened and hands the callback back to it."""

    def __init__(self, gateway: Bootstrapped, http: httpx2.AsyncClient, decision: str) -> None:
        self.visitor = Visitor(http=http, email=gateway.email, password=gateway.password, origin=gateway.url)
        self.decision = decision
        self.authorizations = 0
        self._callback = ""

    async def open(self, url: str) -> None:
        self.authorizations += 1
        self._callback = await self.visitor.authorize(url, decision=self.decision)

    async def answer(self) -> AuthorizationCodeResult:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self._callback).query).items()}
        if "error" in query:
            raise OAuthFlowError(query["error"])
        return AuthorizationCodeResult(code=query["code"], state=query.get("state"), iss=query.get("iss"))


def _provider(
    gateway: Bootstrapped, memory: Memory, person: Person, method: str, *, path: str = "/mcp"
) -> OAuthClientProvider:
    metadata: dict[str, Any] = {"token_endpoint_auth_method": method} if method else {}
    return OAuthClientProvider(
        server_url=f"{gateway.url}{path}",
        client_metadata=OAuthClientMetadata(client_name="Python client", redirect_uris=[AnyUrl(REDIRECT)], **metadata),
        storage=memory,
        redirect_handler=person.open,
        callback_handler=person.answer,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Bootstrapped]:
    async with bootstrapped_gateway() as running:
        yield running


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("method", ["none", "client_secret_post", "client_secret_basic", ""])
async def test_a_python_client_connects_calls_refreshes_and_calls_again(
    gateway: Bootstrapped, mode: Mode, method: str
) -> None:
    """Discovery, registration, sign-in, consent, token, tools/list, tools/call, refresh, tools/call."""
    memory = Memory()
    async with httpx2.AsyncClient() as browser:
        person = Person(gateway, browser, "approve")
        provider = _provider(gateway, memory, person, method)
        async with (
            httpx2.AsyncClient(auth=provider, timeout=30) as http,
            Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http), mode=mode) as client,
        ):
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {"demo__add", "demo__echo", "demo__slow"} <= names
            assert "5" in str((await client.call_tool("demo__add", {"a": 2, "b": 3})).content)
            first = memory.tokens
            assert first is not None
            provider.context.token_expiry_time = 1.0
            assert "23" in str((await client.call_tool("demo__add", {"a": 20, "b": 3})).content)
            assert client.protocol_version == ("2026-07-28" if mode == "auto" else "2025-11-25")
    assert memory.tokens is not None
    assert memory.tokens.refresh_token != first.refresh_token
    assert person.authorizations == 1


async def test_a_python_client_connects_to_the_deprecated_transport(gateway: Bootstrapped) -> None:
    """RFC 9728 §3.3: the metadata that the challenge names has the URL that the client was given as its resource."""
    async with httpx2.AsyncClient() as browser:
        provider = _provider(gateway, Memory(), Person(gateway, browser, "approve"), "none", path="/sse")
        async with (
            sse_client(f"{gateway.url}/sse", auth=provider) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            assert "5" in str((await session.call_tool("demo__add", {"a": 2, "b": 3})).content)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_python_client_gets_progress_of_a_slow_tool(gateway: Bootstrapped, mode: Mode) -> None:
    """MCP progress: notifications arrive on the stream of the call, under the caller's own token."""
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {gateway.token}"}, timeout=30) as http,
        Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http), mode=mode) as client,
    ):
        result = await client.call_tool("demo__slow", {"seconds": 1, "steps": 4}, progress_callback=on_progress)
    assert not result.is_error
    assert len(seen) >= 3
    assert seen == sorted(seen)


async def test_a_python_client_is_told_when_the_person_says_no(gateway: Bootstrapped) -> None:
    """RFC 6749 §4.1.2.1: access_denied reaches the client."""
    async with httpx2.AsyncClient() as browser:
        provider = _provider(gateway, Memory(), Person(gateway, browser, "deny"), "none")
        with pytest.RaisesGroup(OAuthFlowError, allow_unwrapped=True, flatten_subgroups=True):
            async with (
                httpx2.AsyncClient(auth=provider, timeout=30) as http,
                Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http)) as client,
            ):
                await client.list_tools()
