"""The real Open WebUI in a real Chromium against a whole gateway: `scripts/open-webui` installs it and runs this.

Not part of `scripts/test`: Open WebUI is an installation of several gigabytes. Both kinds of connection are tried: the
server-side one (status lines, background tasks, mixed batches, stop button) and the browser's own Direct Connection.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from playwright.async_api import Page, async_playwright
from playwright.async_api import TimeoutError as PlaywrightTimeout
from starlette.requests import Request
from starlette.responses import Response

from tests.support.bootstrapped import Bootstrapped, bootstrapped_gateway
from tests.support.gateway import free_port
from tests.support.llm.scripted import Said, ScriptedOpenAI
from tests.support.llm.serving import serve

SECONDS = 60.0
HEADERS = {"X-OpenWebUI-Task": "{{TASK}}", "X-Gateway-Progress": "openwebui"}
ADD = ("call_own1a2b3c4", "demo__add", '{"a":2,"b":3}')
THEIRS = ("call_cli1a2b3c4", "get_current_timestamp", "{}")


class Model(ScriptedOpenAI):
    """A provider that answers by what it is asked, because Open WebUI sends several requests at a time."""

    async def answer(self, request: Request) -> Response:
        """Choose the line of the script by the last message."""
        body = await request.json()
        last = body["messages"][-1]
        text, role = str(last["content"]), last["role"]
        if "### Task" in text:
            said = Said('{"title":"Sums","tags":["math"],"follow_ups":["And four?"]}')
        elif role == "tool":
            said = Said("The tool has spoken.")
        elif "mixed" in text:
            said = Said(calls=[ADD, THEIRS])
        elif "add" in text:
            said = Said("Let me add. ", calls=[ADD])
        elif "slow" in text:
            said = Said(calls=[("call_slo1a2b3c4", "demo__slow", '{"seconds":3,"steps":3}')])
        elif "hang" in text:
            said = Said("One two three", wait=asyncio.Event())
        else:
            said = Said("Hello there.")
        self.script = [said]
        return await super().answer(request)

    def asked(self, word: str) -> list[dict[str, Any]]:
        """The requests whose last message from the user has that word, background tasks left out."""
        found = []
        for sent in self.requests:
            questions = [str(m["content"]) for m in sent["messages"] if m["role"] == "user"]
            if word in questions[-1] and "### Task" not in questions[-1]:
                found.append(sent)
        return found


@asynccontextmanager
async def open_webui(command: str, gateway: Bootstrapped) -> AsyncIterator[httpx2.AsyncClient]:
    """Open WebUI with the gateway as its only connection; a client that is signed in as its first user."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="owui", ignore_cleanup_errors=True) as folder:
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
            "DATA_DIR": folder,
            "WEBUI_SECRET_KEY": "not-a-secret-in-a-trial",
            "HF_HUB_OFFLINE": "1",
            "OFFLINE_MODE": "true",
            "RAG_EMBEDDING_ENGINE": "openai",
            "OPENAI_API_BASE_URL": f"{gateway.url}/v1",
            "OPENAI_API_KEY": gateway.token,
            "ENABLE_OLLAMA_API": "false",
            "ENABLE_DIRECT_CONNECTIONS": "true",
        }
        process = subprocess.Popen(
            [command, "serve", "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=False) as http:
                await _until_it_answers(http)
                person = {"name": "Ann", "email": "ann@example.com", "password": "pw-12345678"}
                signed_up = await http.post("/api/v1/auths/signup", json=person)
                http.headers["authorization"] = f"Bearer {signed_up.json()['token']}"
                yield http
        finally:
            process.terminate()
            process.wait(30)


async def _until_it_answers(http: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(4 * SECONDS):
        while True:
            try:
                if (await http.get("/health")).status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(0.5)


@asynccontextmanager
async def chat_page(http: httpx2.AsyncClient, model: str) -> AsyncIterator[Page]:
    """A new chat with `model` in Chromium."""
    token = http.headers["authorization"].removeprefix("Bearer ")
    async with async_playwright() as playwright:
        found = next((path for path in ("/usr/bin/chromium", "/usr/bin/google-chrome") if os.path.exists(path)), None)
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page()
        await page.goto(f"{http.base_url}/auth")
        await page.evaluate("token => localStorage.setItem('token', token)", token)
        await _open_chat(page, f"{http.base_url}/?models={model}", model)
        yield page
        await browser.close()


async def _open_chat(page: Page, address: str, model: str) -> None:
    """Its first start is slow, and a page that was loaded too early stays empty: then it is loaded again."""
    for attempt in range(4):
        await page.goto(address)
        try:
            await page.wait_for_selector("#chat-input", timeout=SECONDS * 500)
            await page.wait_for_selector(f"text={model}", timeout=SECONDS * 500)
            break
        except PlaywrightTimeout:
            print(f"  the page stayed empty, loading it again ({attempt + 1})")
    await page.wait_for_timeout(3000)
    news = page.get_by_text("Okay, Let's Go!")
    if await news.count():
        await news.click()
        await page.wait_for_timeout(1000)


async def say(page: Page, text: str, expected: str) -> None:
    """Send a message and wait until the chat shows `expected` behind it."""
    await page.click("#chat-input")
    await page.keyboard.type(text)
    await page.keyboard.press("Enter")
    async with asyncio.timeout(SECONDS):
        while not _is_answered(await page.inner_text("#messages-container"), text, expected):
            await asyncio.sleep(0.1)
    print(f"  {text!r} -> {expected!r}")


def _is_answered(shown: str, text: str, expected: str) -> bool:
    _, found, behind = shown.rpartition(text)
    return bool(found) and expected in behind


async def try_server_side(http: httpx2.AsyncClient, model: Model) -> None:
    """The connection that an administrator sets up, with the two headers that the gateway's documentation names."""
    config = (await http.get("/openai/config")).json()
    config["OPENAI_API_CONFIGS"] = {"0": {"enable": True, "headers": HEADERS}}
    assert (await http.post("/openai/config/update", json=config)).status_code == 200
    listed = [entry["id"] for entry in (await http.get("/api/models")).json()["data"]]
    assert "mcp-gateway" in listed, listed
    async with chat_page(http, "mcp-gateway") as page:
        await say(page, "add two and three", "The tool has spoken.")
        await say(page, "slow please", "step")  # a status line while the tool runs
        await say(page, "and now mixed please", "The tool has spoken.")
        roles = [message["role"] for message in model.asked("mixed")[-1]["messages"]]
        assert roles[-3:] == ["assistant", "tool", "tool"], roles
        await say(page, "hello again", "Hello there.")
        await say(page, "hang please", "One")
        await page.locator("#stop-response-button, button[aria-label='Stop']").first.click()
        async with asyncio.timeout(SECONDS):
            await model.closed_early.wait()
        print("  stop -> the provider's stream is closed")
    tasks = [sent for sent in model.requests if "### Task" in str(sent["messages"][-1]["content"])]
    assert tasks
    assert not any("tools" in sent for sent in tasks)
    assert "<details" not in str(model.requests)
    print(f"  {len(tasks)} background tasks, none with tools")


async def try_direct(http: httpx2.AsyncClient, gateway: Bootstrapped, model: Model) -> None:
    """The connection that a user sets up in the browser: another origin, so the gateway's CORS must let it in."""
    config = (await http.get("/openai/config")).json()
    assert (await http.post("/openai/config/update", json=config | {"ENABLE_OPENAI_API": False})).status_code == 200
    direct = {
        "OPENAI_API_BASE_URLS": [f"{gateway.url}/v1"],
        "OPENAI_API_KEYS": [gateway.token],
        "OPENAI_API_CONFIGS": {"0": {"enable": True}},
    }
    settings = {"ui": {"directConnections": direct}}
    assert (await http.post("/api/v1/users/user/settings/update", json=settings)).status_code == 200
    model.requests.clear()
    async with chat_page(http, "mcp-gateway") as page:
        await say(page, "add two and three", "The tool has spoken.")
        await say(page, "hello again", "Hello there.")
    assert model.asked("add")


async def main(command: str) -> None:
    """Both kinds of connection."""
    model = Model()
    async with serve(model.app()) as url:
        environment = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "sk-upstream"}
        async with bootstrapped_gateway(environment) as gateway, open_webui(command, gateway) as http:
            print("server-side connection")
            await try_server_side(http, model)
            print("Direct Connection")
            await try_direct(http, gateway, model)
    print("all went well")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
