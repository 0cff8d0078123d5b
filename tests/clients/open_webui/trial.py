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

from tests.clients.open_webui.recorder import Recorder
from tests.support.bootstrapped import Bootstrapped, bootstrapped_gateway
from tests.support.gateway import free_port
from tests.support.llm.scripted import Said, ScriptedOpenAI
from tests.support.llm.serving import serve

SECONDS = 60.0
HEADERS = {"X-OpenWebUI-Task": "{{TASK}}", "X-Gateway-Progress": "openwebui"}
ADD = ("call_own1a2b3c4", "demo__add", '{"a":2,"b":3}')
THEIRS = ("call_cli1a2b3c4", "get_current_timestamp", "{}")
CARD = (
    '<details type="tool_calls" done="true" id="call_own1a2b3c4" name="demo__add"'
    ' arguments="&quot;{\\&quot;a\\&quot;:2,\\&quot;b\\&quot;:3}&quot;" result="&quot;5&quot;" files="" embeds="">\n'
    "<summary>Tool Executed</summary>\n</details>\n"
)


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
        elif "use the server" in text:
            said = Said(calls=[("call_mcp1a2b3c4", "gw_demo__add", '{"a":2,"b":3}')])
        elif "card" in text:
            said = Said(CARD + "Two and three are five.")
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
async def open_webui(command: str, gateway: Bootstrapped, base_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Open WebUI with the gateway as its only connection; a client that is signed in as its first user."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="owui", ignore_cleanup_errors=True) as folder:
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
            "DATA_DIR": folder,
            "WEBUI_SECRET_KEY": "not-a-secret-in-a-trial",
            "HF_HUB_OFFLINE": "1",
            "OFFLINE_MODE": "true",
            "RAG_EMBEDDING_ENGINE": "openai",
            "OPENAI_API_BASE_URL": f"{base_url}/v1",
            "OPENAI_API_KEY": gateway.token,
            "ENABLE_OLLAMA_API": "false",
            "ENABLE_DIRECT_CONNECTIONS": "true",
            "ENABLE_FORWARD_USER_INFO_HEADERS": "true",
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
        await say(page, "card please", "five")
        await say(page, "what was behind", "Hello there.")
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


async def try_direct(http: httpx2.AsyncClient, base_url: str, token: str, model: Model) -> None:
    """The connection that a user sets up in the browser: another origin, so the gateway's CORS must let it in."""
    config = (await http.get("/openai/config")).json()
    assert (await http.post("/openai/config/update", json=config | {"ENABLE_OPENAI_API": False})).status_code == 200
    direct = {
        "OPENAI_API_BASE_URLS": [f"{base_url}/v1"],
        "OPENAI_API_KEYS": [token],
        "OPENAI_API_CONFIGS": {"0": {"enable": True}},
    }
    settings = {"ui": {"directConnections": direct}}
    assert (await http.post("/api/v1/users/user/settings/update", json=settings)).status_code == 200
    model.requests.clear()
    async with chat_page(http, "mcp-gateway") as page:
        await say(page, "add two and three", "The tool has spoken.")
        await say(page, "hello again", "Hello there.")
    assert model.asked("add")


async def try_responses(http: httpx2.AsyncClient) -> None:
    """The same connection set to the Responses API."""
    forgotten: dict[str, Any] = {"ui": {"directConnections": {}}}
    assert (await http.post("/api/v1/users/user/settings/update", json=forgotten)).status_code == 200
    config = (await http.get("/openai/config")).json()
    config["OPENAI_API_CONFIGS"]["0"]["api_type"] = "responses"
    assert (await http.post("/openai/config/update", json=config)).status_code == 200
    async with chat_page(http, "mcp-gateway") as page:
        await say(page, "add by responses", "The tool has spoken.")


async def try_mcp(http: httpx2.AsyncClient, base_url: str, token: str) -> None:
    """The gateway as a tool server of Open WebUI, which then runs the tools itself; a token instead of a sign-in."""
    config = (await http.get("/openai/config")).json()
    config |= {"ENABLE_OPENAI_API": True, "OPENAI_API_CONFIGS": {"0": {"enable": True, "headers": HEADERS}}}
    assert (await http.post("/openai/config/update", json=config)).status_code == 200
    server: dict[str, Any] = {"url": f"{base_url}/mcp", "path": "", "type": "mcp", "auth_type": "bearer", "key": token}
    server |= {"config": {"enable": True, "access_grants": []}, "info": {"id": "gw", "name": "Gateway"}}
    saved = await http.post("/api/v1/configs/tool_servers", json={"TOOL_SERVER_CONNECTIONS": [server]})
    assert saved.status_code == 200, saved.text
    asked = {"role": "user", "content": "use the server"}
    body = {"model": "mcp-gateway", "stream": True, "messages": [asked], "tool_ids": ["server:mcp:gw"]}
    answer = await http.post("/api/chat/completions", json=body, timeout=SECONDS)
    assert '"gw_demo__add"' in answer.text, answer.text
    print("  the model is offered the tools as gw_…")


def save(recorder: Recorder, direct: Recorder) -> None:
    """One file for each kind of request (tests/unit/openai_routes/test_recorded_open_webui.py replays them)."""
    found = {
        "models": next(sent for sent in recorder.sent if sent.path == "/v1/models"),
        "chat": recorder.chats("add two")[0],
        "chat_second_turn": recorder.chats("slow please")[0],
        "chat_with_results": recorder.chats("mixed")[1],
        "chat_after_results": recorder.chats("hello again")[0],
        "chat_with_cards": recorder.chats("what was behind")[0],
        "chat_with_mcp_tools": recorder.chats("use the server")[0],
        "task_title": recorder.tasks("title_generation")[0],
        "task_follow_up": recorder.tasks("follow_up_generation")[0],
        "task_tags": recorder.tasks("tags_generation")[0],
        "responses": next(sent for sent in recorder.sent if sent.path == "/v1/responses" and sent.body["stream"]),
        "direct_preflight": next(sent for sent in direct.sent if sent.method == "OPTIONS" and "chat" in sent.path),
        "direct_chat": direct.chats("add two")[0],
    }
    found |= {f"mcp_{sent.body['method'].replace('/', '_')}": sent for sent in recorder.sent if sent.path == "/mcp"}
    for name, sent in found.items():
        sent.save(name)
    print(f"{len(found)} requests recorded")


async def main(command: str, *options: str) -> None:
    """Every kind of connection; with `--record` what Open WebUI sent is kept as files."""
    model = Model()
    async with serve(model.app()) as url:
        environment = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "sk-upstream"}
        async with bootstrapped_gateway(environment) as gateway:
            recorder, direct = Recorder(gateway.url), Recorder(gateway.url)
            async with (
                serve(recorder.app()) as base_url,
                serve(direct.app()) as direct_url,
                open_webui(command, gateway, base_url) as http,
            ):
                print("server-side connection")
                await try_server_side(http, model)
                print("Direct Connection")
                await try_direct(http, direct_url, gateway.token, model)
                print("MCP")
                await try_mcp(http, base_url, gateway.token)
                print("Responses API")
                await try_responses(http)
            if "--record" in options:
                save(recorder, direct)
    print("all went well")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
