"""The older proxy's `MCP_SERVER_ENDPOINTS` in a real `serve`: its OpenAPI servers are tools for every client."""

import asyncio
import json
from typing import Any

import httpx2

from tests.support.bootstrapped import bootstrapped_gateway
from tests.support.gateway import free_port
from tests.support.mcp_backends import serve
from tests.support.mcp_wire import Wire, text_of
from tests.support.openapi_service import OpenApiService, document, json_body, operation, parameter

SECONDS = 30.0
ADMIN_KEY = "k" * 43


def tools() -> OpenApiService:
    """What the older proxy read: POST operations with an operationId and a JSON body with references."""
    schemas = {"Add": {"type": "object", "required": ["a", "b"], "properties": {"a": {"$ref": "#/components/schemas/N"},
               "b": {"$ref": "#/components/schemas/N"}}}, "N": {"type": "number"}}  # fmt: skip
    body = json_body({"$ref": "#/components/schemas/Add"})
    paths = {
        "/add": {"post": operation("add", summary="Adds", requestBody=body)},
        "/time/{zone}": {"get": operation("time", parameter("zone", "path"))},
    }
    return OpenApiService(document(paths, components={"schemas": schemas}))


def below(service: OpenApiService, prefix: str) -> Any:
    """The service mounted under a path by something that tells it nothing about that."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"].startswith(prefix)
        path, raw = scope["path"].removeprefix(prefix), scope["raw_path"].removeprefix(prefix.encode())
        await service({**scope, "path": path, "raw_path": raw}, receive, send)

    return app


async def until_listed(wire: Wire, name: str) -> list[str]:
    """The listed names once `name` is among them."""
    async with asyncio.timeout(SECONDS):
        while name not in (names := await wire.tool_names()):
            await asyncio.sleep(0.2)
    return names


async def test_endpoints_of_the_environment_are_tools() -> None:
    """Compatibility A2, A4-A7: one openapi backend each, a dead one is visible and retried."""
    first, second, late = tools(), tools(), tools()
    port = free_port()
    async with serve(first) as url, serve(below(second, "/clock")) as other:
        endpoints = f"{url}/, {other}/clock ,http://127.0.0.1:{port}"
        environment = {"MCP_SERVER_ENDPOINTS": endpoints, "GATEWAY_ADMIN_API_KEY": ADMIN_KEY}
        async with bootstrapped_gateway(environment) as gateway:
            headers = {"Authorization": f"Bearer {gateway.token}"}
            async with httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http:
                wire = Wire(http, f"{gateway.url}/mcp")
                host = f"127-0-0-1-{url.rpartition(':')[2]}"
                names = await until_listed(wire, f"{host}__add")
                assert {f"{host}__time", "clock__add", "clock__time"} <= set(names)

                added = await wire.call(f"{host}__add", {"a": 2, "b": 3.5})
                assert json.loads(text_of(added))["body"] == '{"a":2,"b":3.5}'
                timed = await wire.call("clock__time", {"zone": "Europe/Zürich"})
                assert timed["result"]["structuredContent"]["target"] == "/time/Europe%2FZ%C3%BCrich"

                dead = f"127-0-0-1-{port}"
                assert await states(http, gateway.url) >= {(dead, "failing"), ("clock", "ready"), (host, "ready")}
                async with serve(late, port=port):
                    await until_listed(wire, f"{dead}__add")
            assert "MCP_SERVER_ENDPOINTS" in gateway.process.log.read_text()
    assert not any("authorization" in seen.headers for service in (first, second, late) for seen in service.seen)


async def states(http: httpx2.AsyncClient, url: str) -> set[tuple[str, str]]:
    """The backends' states as /status tells them."""
    key = {"Authorization": f"Bearer {ADMIN_KEY}"}
    response = await http.get(f"{url}/status", params={"tenant": "default"}, headers=key)
    assert response.status_code == 200, response.text
    return {(entry["name"], entry["state"]) for entry in response.json()["backends"]}
