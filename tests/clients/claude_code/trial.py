"""The real Claude Code against a whole gateway: `scripts/claude-code` installs it and runs this.

It signs in as people do (`claude mcp login`, with a real Chromium on the sign-in and consent pages), and with a token;
then a model that is a script has it call tools over both transports. Not part of `scripts/test`: what is new in Claude
Code should not turn a run red that changed nothing.
"""

import asyncio
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from playwright.async_api import async_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.browser.conftest import CHROMIUM_ARGUMENTS, find_chromium
from tests.support.bootstrapped import Bootstrapped, bootstrapped_gateway
from tests.support.llm.scripted import Said, ScriptedAnthropic
from tests.support.llm.serving import serve
from tests.support.node import node_binary, node_project

SECONDS: Final = 60.0
SIGNED_IN, BY_TOKEN, BY_SSE = "signed-in", "by-token", "by-sse"
BROWSER: Final = '#!/bin/sh\nprintf %s "$1" > "$HOME/address.new" && mv "$HOME/address.new" "$HOME/address"\n'


class Model(ScriptedAnthropic):
    """Adds two and forty by the tool of whichever server it is asked for, and says what came of it."""

    def app(self) -> Starlette:
        """What Claude Code asks for besides messages is answered with next to nothing."""
        messages = Route("/v1/messages", self.answer, methods=["POST"])
        return Starlette(routes=[messages, Route("/{path:path}", _nothing, methods=["GET", "HEAD", "POST"])])

    async def answer(self, request: Request) -> Response:
        """Choose the line of the script by what was said so far: the last message need not be the person's."""
        body = await request.json()
        contents = [message["content"] for message in body["messages"]]
        blocks = [block for content in contents if isinstance(content, list) for block in content]
        results = [block for block in blocks if block["type"] == "tool_result"]
        server = next((name for name in (SIGNED_IN, BY_TOKEN, BY_SSE) if f"ask {name}" in str(contents)), None)
        if results:
            said = Said(f"It said: {results[-1]['content']}")
        elif server is not None and body.get("tools"):
            said = Said(calls=[("toolu_1", f"mcp__{server}__demo__add", '{"a":2,"b":40}')])
        else:
            said = Said("Hello.")
        self.script = [said]
        return await super().answer(request)


async def _nothing(_: Request) -> Response:
    return JSONResponse({})


class ClaudeCode:
    """An installation of its own: home, settings and credentials are a temporary folder's."""

    def __init__(self, command: Path, home: Path, model_url: str) -> None:
        opener = home / "bin" / "xdg-open"
        opener.parent.mkdir()
        opener.write_text(BROWSER)
        opener.chmod(0o700)
        self._command = command
        self._home = home
        self._environment = {
            "HOME": str(home),
            "PATH": f"{opener.parent}:{os.environ['PATH']}",
            "BROWSER": str(opener),
            "ANTHROPIC_BASE_URL": model_url,
            "ANTHROPIC_API_KEY": "sk-ant-of-a-script",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        }

    async def run(self, *arguments: str) -> str:
        """One command to its end; what it printed."""
        process = await self._start(*arguments)
        async with asyncio.timeout(SECONDS):
            printed, _ = await process.communicate()
        assert process.returncode == 0, f"claude {arguments[0]}: {printed.decode()[-2000:]}"
        return printed.decode()

    async def log_in(self, server: str, gateway: Bootstrapped) -> None:
        """`claude mcp login`, with a person at the terminal that it asks for and at the browser that it opens."""
        ours, terminal = os.openpty()
        process = await self._start("mcp", "login", server, terminal=terminal)
        os.close(terminal)
        async with asyncio.timeout(SECONDS):
            while not (self._home / "address").exists():
                await asyncio.sleep(0.1)
            await _allow((self._home / "address").read_text(), gateway)
            status = await process.wait()
        os.close(ours)
        assert status == 0, f"claude mcp login ended with {status}"

    async def _start(self, *arguments: str, terminal: int | None = None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(self._command),
            *arguments,
            cwd=self._home,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL if terminal is None else terminal,
            stdout=asyncio.subprocess.PIPE if terminal is None else terminal,
            stderr=asyncio.subprocess.STDOUT if terminal is None else terminal,
        )


async def _allow(address: str, gateway: Bootstrapped) -> None:
    """Sign in, read who wants what, and allow it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_ARGUMENTS)
        page = await browser.new_page()
        await page.goto(address)
        await page.get_by_label("E-mail address").fill(gateway.email)
        await page.get_by_label("Password").fill(gateway.password)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("heading", name="Allow Claude Code").wait_for()
        await page.get_by_role("button", name="Allow access").click()
        await page.get_by_text("Authentication successful").wait_for()
        await browser.close()


async def main(command: str) -> None:
    """Each way in, and a call by each."""
    model = Model()
    with tempfile.TemporaryDirectory(prefix="claude", ignore_cleanup_errors=True) as home:
        async with serve(model.app()) as model_url, bootstrapped_gateway() as gateway:
            claude = ClaudeCode(Path(command), Path(home), model_url)
            print((await claude.run("--version")).strip())
            bearer = ("--header", f"Authorization: Bearer {gateway.token}")
            await claude.run("mcp", "add", "--transport", "http", SIGNED_IN, f"{gateway.url}/mcp")
            await claude.run("mcp", "add", "--transport", "http", BY_TOKEN, f"{gateway.url}/mcp", *bearer)
            await claude.run("mcp", "add", "--transport", "sse", BY_SSE, f"{gateway.url}/sse", *bearer)
            before = await claude.run("mcp", "get", SIGNED_IN)
            assert "Needs authentication" in before, before
            await claude.log_in(SIGNED_IN, gateway)
            print("  signed in and allowed")
            for server in (SIGNED_IN, BY_TOKEN, BY_SSE):
                state = await claude.run("mcp", "get", server)
                assert "Connected" in state, state
                allowed = f"mcp__{server}__demo__add"
                said = await claude.run("-p", f"Please ask {server}", "--allowedTools", allowed)
                assert "42" in said, said
                print(f"  {server}: connected, and its tool was called")
    print("all went well")


def installed() -> str:
    """The command. What its package does once after an installation is done by hand: nothing else may run scripts."""
    modules = node_project(Path(__file__).parent) / "node_modules"
    package = modules / "@anthropic-ai" / "claude-code"
    subprocess.run([node_binary(), "install.cjs"], cwd=package, check=True, stdout=subprocess.DEVNULL)
    return str(modules / ".bin" / "claude")


if __name__ == "__main__":
    asyncio.run(main(installed()))
