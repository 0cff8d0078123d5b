"""/v1 of a whole gateway: as `scripts/run` starts it, with the demo tools, read by the official SDK."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, AuthenticationError, BadRequestError, DefaultAsyncHttpxClient
from starlette.types import Receive, Scope, Send

from tests.support.bootstrapped import Bootstrapped, bootstrapped_gateway
from tests.support.llm.recorded import recorded
from tests.support.llm.scripted import Said, ScriptedOpenAI
from tests.support.llm.serving import serve

ASK: Any = [{"role": "user", "content": "What tools are available?"}]
pytestmark = pytest.mark.asyncio(loop_scope="module")
ADD = Said(calls=[("call_a1b2c3d4", "demo__add", '{"a":2,"b":3}')])


def sdk(gateway: Bootstrapped, key: str | None = None) -> AsyncOpenAI:
    """The official SDK with the printed token."""
    return AsyncOpenAI(
        base_url=f"{gateway.url}/v1",
        api_key=key or gateway.token,
        max_retries=0,
        http_client=DefaultAsyncHttpxClient(verify=False),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain() -> AsyncIterator[Bootstrapped]:
    """A gateway without a provider."""
    async with bootstrapped_gateway() as gateway:
        yield gateway


@dataclass
class Speaker:
    """The server: whatever was scripted last."""

    upstream: ScriptedOpenAI = field(default_factory=ScriptedOpenAI)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.upstream.app()(scope, receive, send)


@dataclass
class Provided:
    """A gateway whose environment names an OpenAI-compatible server, as the older OpenAI proxy's did."""

    gateway: Bootstrapped
    speaker: Speaker

    def say(self, *script: Said) -> ScriptedOpenAI:
        """What the server says from now on."""
        self.speaker.upstream = ScriptedOpenAI(list(script))
        return self.speaker.upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provided() -> AsyncIterator[Provided]:
    """One for all tests that bring a script."""
    speaker = Speaker()
    async with serve(speaker) as url:
        environment = {"OPENAI_BASE_URL": f"{url}/v1/", "OPENAI_API_KEY": "sk-upstream"}
        async with bootstrapped_gateway(environment) as gateway:
            yield Provided(gateway, speaker)


async def test_a_first_look_lists_the_gateway_as_a_model_and_it_names_the_tools(plain: Bootstrapped) -> None:
    """Compatibility C4, C5, C6, C7; issue 2, done when: `/v1/models` lists `mcp-gateway`, chat names the tools."""
    gateway = plain
    async with sdk(gateway) as openai:
        assert [model.id for model in (await openai.models.list()).data] == ["mcp-gateway"]
        answer = await openai.chat.completions.create(model="mcp-gateway", messages=ASK)
        assert "`demo__add`" in (answer.choices[0].message.content or "")
        async with openai.chat.completions.stream(model="mcp-gateway", messages=ASK) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == answer.choices[0].message.content
        with pytest.raises(BadRequestError, match="No user message found"):
            await openai.chat.completions.create(model="mcp-gateway", messages=[{"role": "system", "content": "x"}])
        async with sdk(gateway, "gw_pat_wrong") as stranger:
            with pytest.raises(AuthenticationError, match="Unauthorized") as caught:
                await stranger.models.list()
            assert "resource_metadata=" in caught.value.response.headers["www-authenticate"]
        async with httpx2.AsyncClient(base_url=gateway.url, verify=False) as http:
            for header in ("x-api-key", "api-key"):
                assert (await http.get("/v1/models", headers={header: gateway.token})).status_code == 200
            twice = {"x-api-key": gateway.token, "authorization": f"Bearer {gateway.token}"}
            assert (await http.get("/v1/models", headers=twice)).status_code == 401
            assert (await http.get(f"/v1/models?api_key={gateway.token}")).status_code == 401


async def test_direct_connections_of_a_browser_are_let_in_before_any_token(plain: Bootstrapped) -> None:
    """openai-clients.md §0, 7: preflight without a token, `authorization` named, errors readable too."""
    async with httpx2.AsyncClient(base_url=plain.url, verify=False) as http:
        origin = {"origin": "http://webui.example:3000"}
        asked = {
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        for path in ("/v1/models", "/v1/chat/completions"):
            preflight = await http.options(path, headers={**origin, **asked})
            assert preflight.status_code in (200, 204)
            assert preflight.headers["access-control-allow-origin"] in ("*", origin["origin"])
            assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
        recording = recorded("direct_preflight")
        assert (await http.options(recording.path, headers=recording.headers)).status_code in (200, 204)
        refused = await http.get("/v1/models", headers=origin)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] in ("*", origin["origin"])


async def test_open_webui_finds_the_tools_over_mcp_as_it_was_recorded(plain: Bootstrapped) -> None:
    """openai-clients.md §0, 10: `server/discover` of 2026-07-28 first, then the list, without a session."""
    async with httpx2.AsyncClient(base_url=plain.url, verify=False) as http:
        for name, expected in (("mcp_server_discover", '"2026-07-28"'), ("mcp_tools_list", '"demo__add"')):
            sent = recorded(name)
            headers = {**sent.headers, "authorization": f"Bearer {plain.token}"}
            answer = await http.post(sent.path, headers=headers, json=sent.body)
            assert answer.status_code == 200
            assert expected in answer.text


async def test_with_a_provider_it_is_an_assistant_over_all_tools(provided: Provided) -> None:
    """Compatibility A1, A8, A9, A11, C5, C10: real tools over stdio, in both shapes and through the plain model too."""
    upstream = provided.say(ADD, Said("It is five."), ADD, Said("Five."), ADD, Said("5."))
    async with sdk(provided.gateway) as openai:
        answer = await openai.chat.completions.create(model="mcp-gateway", messages=ASK)
        assert answer.choices[0].message.content == "It is five."
        assert upstream.requests[0]["model"] == "gpt-4o"
        assert upstream.requests[1]["messages"][-1] == {
            "role": "tool",
            "tool_call_id": "call_a1b2c3d4",
            "content": "5",
        }
        async with openai.chat.completions.stream(model="gpt-4o-mini", messages=ASK) as stream:
            assert (await stream.get_final_completion()).choices[0].message.content == "Five."
        assert upstream.requests[2]["model"] == "gpt-4o-mini"
        assert (await openai.responses.create(model="mcp-gateway", input="Go")).output_text == "5."
        await openai.embeddings.create(model="x", input="y", encoding_format="float")
        assert upstream.paths[-1].startswith("POST /v1/embeddings")
        assert provided.gateway.token not in str(upstream.headers)


async def test_a_tool_says_how_far_it_is_while_it_runs(provided: Provided) -> None:
    """Issue 4, progress: MCP progress notifications become status lines."""
    slow = Said(calls=[("call_a1b2c3d4", "demo__slow", '{"seconds":0.3,"steps":3}')])
    provided.say(slow, Said("Done."))
    async with sdk(provided.gateway) as openai:
        stream = await openai.chat.completions.create(
            model="mcp-gateway", messages=ASK, stream=True, extra_headers={"x-gateway-progress": "reasoning"}
        )
        lines = ""
        async for chunk in stream:
            lines += chunk.choices[0].delta.model_dump().get("reasoning_content") or ""
        assert lines.startswith("Running demo__slow…\n")
        assert len(lines.splitlines()) >= 4


async def test_revoking_the_token_ends_a_chat_that_is_under_way(provided: Provided) -> None:
    """Security RS2: closed within 5 s of the revocation, and the provider's stream with it."""
    upstream = provided.say(Said("One two three", wait=asyncio.Event()))
    gateway, environment = provided.gateway, provided.gateway.process.environment
    whose = ("--user", gateway.email, "--tenant", "default")
    created = await run_command(environment, "token", "create", *whose, "--scope", "openai", "--name", "doomed")
    async with sdk(gateway, created.strip()) as openai:
        stream = await openai.chat.completions.create(model="mcp-gateway", messages=ASK, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        listed = await run_command(environment, "token", "list", *whose)
        token_id = re.search(r"[0-9a-f]{32}(?=.* doomed )", listed)
        assert token_id, listed
        await run_command(environment, "token", "revoke", token_id[0], "--tenant", "default")
        async with asyncio.timeout(20):
            await upstream.closed_early.wait()
        await stream.close()
        with pytest.raises(AuthenticationError):
            await openai.models.list()


async def run_command(environment: dict[str, str], *arguments: str) -> str:
    """Run a command of the gateway on the same state; its standard output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway_proxy",
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()
