"""A tool that takes 90 s, for real: through Caddy over TLS, called by the official SDK and by a plain reader.

`scripts/long-tool` runs it. It is no test of the suite, because it only waits: the heartbeat itself is tested with a
short clock, and what 90 real seconds add are the time-outs of everything in between (Caddy, the gateway's router and
runner, the SDK), which change seldom. In the suite it would hold a worker for a fifth of the whole time.
"""

import asyncio
import contextlib
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import httpx2
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from starlette.requests import Request
from starlette.responses import Response

from openai_routes.stream import KEEP_ALIVE
from tests.support.bootstrapped import Bootstrapped, bootstrapped_gateway
from tests.support.gateway import free_port
from tests.support.llm.scripted import Said, ScriptedOpenAI
from tests.support.llm.serving import serve
from tests.support.topology import running_caddy

SECONDS: Final = 90
SLOW: Final = Said(calls=[("call_slo1a2b3c4", "demo__slow", f'{{"seconds":{SECONDS},"steps":1}}')])
BODY: Final[Any] = {"model": "mcp-gateway", "messages": [{"role": "user", "content": "Go"}]}


async def read_plainly(url: str, token: str, trust: ssl.SSLContext) -> str:
    """The stream as it comes: how many comments, and the longest silence."""
    beats, last, silence, text = 0, time.monotonic(), 0.0, b""
    async with (
        httpx2.AsyncClient(
            base_url=url, verify=trust, timeout=30, headers={"authorization": f"Bearer {token}"}
        ) as http,
        http.stream("POST", "/v1/chat/completions", json={**BODY, "stream": True}) as answer,
    ):
        assert answer.status_code == 200
        async for chunk in answer.aiter_bytes():
            silence, last = max(silence, time.monotonic() - last), time.monotonic()
            beats += chunk.count(KEEP_ALIVE)
            text += chunk
    assert text.endswith(b"data: [DONE]\n\n")
    assert beats >= SECONDS // 15
    assert silence < 15
    return f"plain reader: {beats} comments, never silent for more than {silence:.1f} s"


async def ask_by_sdk(url: str, token: str, trust: ssl.SSLContext, *, stream: bool) -> str:
    """The official SDK, which sees nothing of the comments; without retries, so that a second run would show."""
    started = time.monotonic()
    async with AsyncOpenAI(
        base_url=f"{url}/v1", api_key=token, max_retries=0, http_client=DefaultAsyncHttpxClient(verify=trust)
    ) as openai:
        if stream:
            async with openai.chat.completions.stream(**BODY) as events:
                final = await events.get_final_completion()
        else:
            final = await openai.chat.completions.create(**BODY)
    assert final.choices[0].message.content == "Slept well."
    return f"SDK, {'streamed' if stream else 'whole'}: answered after {time.monotonic() - started:.1f} s"


class Sleeper(ScriptedOpenAI):
    """A provider that calls the slow tool first, in every one of the chats that run at the same time."""

    async def answer(self, request: Request) -> Response:
        """By the last message."""
        last = (await request.json())["messages"][-1]
        self.script = [Said("Slept well.") if last["role"] == "tool" else SLOW]
        return await super().answer(request)


async def through_caddy(gateway: Bootstrapped, public: str, folder: Path, port: int) -> None:
    """All three at once."""
    async with running_caddy(folder, port, [gateway.process.url.removeprefix("http://")]) as certificate:
        trust = ssl.create_default_context(cafile=certificate)
        for line in await asyncio.gather(
            read_plainly(public, gateway.token, trust),
            ask_by_sdk(public, gateway.token, trust, stream=True),
            ask_by_sdk(public, gateway.token, trust, stream=False),
        ):
            print(line)


async def main() -> None:
    """A whole gateway behind the project's own Caddyfile."""
    port = free_port()
    public = f"https://localhost:{port}"
    upstream = Sleeper()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gwlong", ignore_cleanup_errors=True)))
        async with serve(upstream.app()) as url:
            environment = {
                "OPENAI_BASE_URL": f"{url}/v1",
                "GATEWAY_PUBLIC_URL": public,
                "GATEWAY_TRUSTED_PROXIES": "127.0.0.1",
            }
            async with bootstrapped_gateway(environment) as gateway:
                await through_caddy(gateway, public, folder, port)
    assert len(upstream.requests) == 6, "a chat was asked again"
    print("all went well")


if __name__ == "__main__":
    asyncio.run(main())
