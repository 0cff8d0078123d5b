"""The suite's `authorization` mode against the gateway's authorization server, with a person who signs in."""

import asyncio
import tempfile
from pathlib import Path

import httpx2

from tests.conformance.suite import Run, read_results, start_suite
from tests.conformance.targets import PASSWORD, PERSON, Target
from tests.support.gateway import free_port
from tests.support.visitor import Visitor

SECONDS = 60.0


async def run_authorization(target: Target) -> Run:
    """Register a client, run the mode, and open in its place what a browser would open."""
    port = free_port()
    async with httpx2.AsyncClient(timeout=30) as http:
        client_id = await _register(http, target.url, f"http://127.0.0.1:{port}/callback")
        with tempfile.TemporaryDirectory(prefix="gw-conformance-") as folder:
            arguments = ["authorization", "--url", target.url, "--client-id", client_id, "-p", str(port), "-o", folder]
            arguments += ["--resource", f"{target.url}/mcp"]
            process = await start_suite(*arguments, url=target.url)
            visitor = Visitor(http=http, email=PERSON, password=PASSWORD, origin=target.url)
            try:
                async with asyncio.timeout(SECONDS):
                    output = await _follow(process, visitor, http, target.url)
            finally:
                if process.returncode is None:
                    process.kill()
            run = read_results(Path(folder))
    assert run.checks, f"the suite found nothing to check: {output[-3000:]}"
    return run


async def _register(http: httpx2.AsyncClient, url: str, redirect_uri: str) -> str:
    metadata = {
        "client_name": "Conformance suite",
        "redirect_uris": [redirect_uri],
        "token_endpoint_auth_method": "none",
    }
    response = await http.post(f"{url}/oauth/register", json=metadata)
    assert response.status_code == 201, response.text
    client_id: str = response.json()["client_id"]
    return client_id


async def _follow(process: asyncio.subprocess.Process, visitor: Visitor, http: httpx2.AsyncClient, url: str) -> str:
    """Read what the suite prints; the address that it prints is opened, approved, and its callback followed."""
    assert process.stdout is not None
    output = ""
    async for line in process.stdout:
        text = line.decode()
        output += text
        if text.startswith(url) and "response_type=code" in text:
            await http.get(await visitor.authorize(text.strip()))
    await process.wait()
    return output
