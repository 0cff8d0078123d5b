"""Keys of /v1 that the gateway did not issue, against a whole gateway (compatibility D1, D13–D15)."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from tests.support.apiman import running_apiman
from tests.support.gateway import GatewayProcess, running_gateway
from tests.support.llm.scripted import Said, ScriptedOpenAI
from tests.support.llm.serving import serve

KEY, OTHER, KNOWN = "0123456789abcdef", "fedcba9876543210", "a-key-that-apiman-knows"
SECRET = "a-secret-of-apiman"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def write(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "gateway.json"
    path.write_text(json.dumps(document))
    return path


async def apply(gateway: GatewayProcess, path: Path) -> None:
    """`gateway-proxy apply` beside the running gateway."""
    command = [sys.executable, "-m", "gateway_proxy", "apply", str(path)]
    await asyncio.to_thread(subprocess.run, command, env=gateway.environment, check=True, capture_output=True)


async def test_each_key_opens_its_own_tenant_on_v1_and_nothing_else(tmp_path: Path) -> None:
    """Compatibility D13–D15; security RS1, RS4, T1: static key, probe and trusted header, each of one tenant."""
    upstream = ScriptedOpenAI([Said("Hello.")])
    async with running_apiman({KNOWN}) as apiman, serve(upstream.app()) as provider:
        probe = {"gateway_url": apiman.url, "probe_api": "org/llm/1.0", "probe_path": "ping"}
        assistant = {"provider": "p", "model": "m"}
        llm = {"providers": {"p": {"base_url": f"{provider}/v1", "api_key": "sk-upstream"}}}
        tenants: dict[str, dict[str, Any]] = {
            "one": {**llm, "assistants": [{"name": "first", **assistant}], "proxy_api_keys": [KEY]},
            "two": {**llm, "assistants": [{"name": "second", **assistant}], "apiman": probe},
            "three": {"apiman": {"mode": "trusted_header", "header": "X-Gateway-Auth", "secret": SECRET}},
        }
        config = write(tmp_path, {"tenants": tenants})
        async with (
            running_gateway(arguments=("--config", str(config))) as gateway,
            httpx2.AsyncClient(base_url=gateway.url, verify=False) as http,
        ):

            async def models(**headers: str) -> list[str]:
                answer = await http.get("/v1/models", headers={k.replace("_", "-"): v for k, v in headers.items()})
                assert answer.status_code == 200, answer.text
                return [model["id"] for model in answer.json()["data"]]

            assert "first" in await models(**bearer(KEY))
            assert "first" in await models(x_api_key=KEY)
            assert "first" in await models(api_key=KEY)
            assert "second" in await models(**bearer(KNOWN))
            assert not {"first", "second"} & set(await models(x_gateway_auth=SECRET))
            chat = {"model": "first", "messages": [{"role": "user", "content": "Hi"}]}
            answer = await http.post("/v1/chat/completions", headers=bearer(KEY), json=chat)
            assert answer.json()["choices"][0]["message"]["content"] == "Hello."
            assert KEY not in str(upstream.headers)

            for headers in (bearer(OTHER), {"x-gateway-auth": "wrong"}, {**bearer(KEY), "x-api-key": KEY}):
                refused = await http.get("/v1/models", headers=headers)
                assert refused.status_code == 401
                assert 'scope="openai"' in refused.headers["www-authenticate"]
            assert (await http.get(f"/v1/models?apikey={KEY}")).status_code == 401
            for key in (KEY, KNOWN):
                assert (await http.post("/mcp", headers=bearer(key), json={})).status_code == 401
                assert (await http.get("/admin/mcp?tenant=one", headers=bearer(key))).status_code == 401
                assert (await http.get("/servers", headers=bearer(key))).status_code == 401
            assert (await http.get("/admin/mcp", headers={"x-gateway-auth": SECRET})).status_code == 401
            assert apiman.asked.count(KNOWN) == 1

            tenants["one"].pop("proxy_api_keys")
            await apply(gateway, write(tmp_path, {"tenants": tenants}))
            await asyncio.sleep(2.1)  # what a worker may remember
            assert (await http.get("/v1/models", headers=bearer(KEY))).status_code == 401
            text = gateway.log.read_text()
            assert not [secret for secret in (KEY, KNOWN, SECRET) if secret in text]


async def test_the_older_configuration_and_environment_go_on_working(tmp_path: Path) -> None:
    """Compatibility D1, D13: `proxy_api_keys` of the older file, and PROXY_API_KEY, belong to the tenant `default`."""
    llm = {"backends": {"p": {}}, "assistants": [{"name": "My Assistant (für 🚀)", "backend": "p", "model": "m"}]}
    older = write(tmp_path, {"mcp_servers": {}, "proxy_api_keys": [KEY, {"name": "bob", "key": OTHER}], **llm})
    async with (
        running_gateway(environment={"CONFIG_PATH": str(older)}) as gateway,
        httpx2.AsyncClient(base_url=gateway.url, verify=False) as http,
    ):
        for key in (KEY, OTHER):
            models = (await http.get("/v1/models", headers=bearer(key))).json()["data"]
            one = await http.get(f"/v1/models/{quote(models[1]['id'])}", headers=bearer(key))
            assert one.json()["id"] == "My Assistant (für 🚀)"
    async with (
        running_gateway(environment={"PROXY_API_KEY": KEY}) as gateway,
        httpx2.AsyncClient(base_url=gateway.url, verify=False) as http,
    ):
        assert (await http.get("/v1/models", headers={"x-api-key": KEY})).status_code == 200
        assert (await http.get("/v1/models", headers={"x-api-key": OTHER})).status_code == 401


async def test_a_key_of_the_environment_opens_the_tenant_of_a_file_that_has_no_keys(tmp_path: Path) -> None:
    """Contract: `CONFIG_PATH` and `PROXY_API_KEY` are aliases, together as well; `apply` leaves the key where it is."""
    older = write(tmp_path, {"mcp_servers": {}})
    environment = {"CONFIG_PATH": str(older), "PROXY_API_KEY": KEY}
    async with (
        running_gateway(environment=environment) as gateway,
        httpx2.AsyncClient(base_url=gateway.url, verify=False) as http,
    ):
        assert (await http.get("/v1/models", headers=bearer(KEY))).status_code == 200
        await apply(gateway, older)
        await asyncio.sleep(2.1)  # what a worker may remember
        assert (await http.get("/v1/models", headers=bearer(KEY))).status_code == 200
