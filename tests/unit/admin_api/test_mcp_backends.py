"""/admin/mcp: compatibility D11; what is shown to whom; on both databases."""

import json
from typing import Any

import pytest

from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.ids import new_id
from tests.support.admin_site import PLATFORM_KEY, AdminSite
from tests.support.mcp_backends import Http, McpBackend, tool

SECRET = "s3cret"


async def test_a_definition_is_put_shown_listed_and_deleted(site: AdminSite, calc_url: str) -> None:
    """D11: GET, PUT, DELETE `/admin/mcp[/{name}]`, live at once."""
    definition = {"url": f"{calc_url}?key={SECRET}", "headers": {"Authorization": f"Bearer {SECRET}"}, "timeout": 9}
    put = await site.ask("PUT", "/admin/mcp/calc", body={"name": "calc", **definition})
    shown = {
        "name": "calc",
        "url": f"{calc_url}?[redacted]",
        "headers": {"Authorization": "[redacted]"},
        "isolation": None,
        "timeout": 9.0,
        "enabled": True,
        "origin": "platform",
        "revision": 1,
    }
    assert (put.status_code, put.json()) == (200, shown)
    assert (await site.ask("GET", "/admin/mcp/calc")).json() == shown
    assert (await site.ask("GET", "/admin/mcp")).json() == {"mcp_servers": [shown]}
    assert "calc__echo" in await site.wire().tool_names()
    stored = await site.stored("calc")
    assert stored is not None
    assert stored.headers == definition["headers"]

    deleted = await site.ask("DELETE", "/admin/mcp/calc")
    assert (deleted.status_code, deleted.json()) == (200, {"removed": "calc"})
    assert await site.wire().tool_names() == []
    for method in ("GET", "DELETE"):
        missing = await site.ask(method, "/admin/mcp/calc")
        assert (missing.status_code, missing.json()["error"]) == (404, "Unknown server 'calc'.")


async def test_the_start_timeout_of_a_command_is_put_and_shown(site: AdminSite) -> None:
    """Like `timeout`; a definition without it has the default."""
    for definition, seconds in (({"start_timeout": 120}, 120.0), ({}, 60.0)):
        put = await site.ask("PUT", "/admin/mcp/slow", body={"command": "x", "enabled": False, **definition})
        assert (put.status_code, put.json()["start_timeout"]) == (200, seconds)
        stored = await site.stored("slow")
        assert stored is not None
        assert stored.start_timeout == seconds


@pytest.mark.parametrize(
    ("name", "definition", "detail"),
    [
        ("a_b", {"url": "https://x.example"}, "name: expected 1 to 31 letters, digits and hyphens"),
        ("calc", {"name": "other", "url": "https://x.example"}, "name: expected the name that stands in the path"),
        ("calc", {"url": "https://x.example", "origin": "operator"}, "origin: unknown key"),
        ("calc", {"command": "x", "url": "https://x.example"}, "expected command or url, got both"),
        ("calc", {"command": "x", "args": ["[redacted]"]}, "args[0]: expected the value itself"),
        ("calc", {"command": "x", "start_timeout": 601}, "start_timeout: expected a number <= 600"),
        ("calc", [], "expected a mapping, got a list"),
    ],
)
async def test_a_wrong_definition_is_a_422(site: AdminSite, name: str, definition: Any, detail: str) -> None:
    """D11: 422 invalid."""
    response = await site.ask("PUT", f"/admin/mcp/{name}", body=definition)
    assert response.status_code == 422
    assert response.json()["details"][0].startswith(detail)


async def test_a_put_that_cannot_connect_leaves_what_is_there(site: AdminSite, calc_url: str) -> None:
    """D11: 502; nothing changes."""
    await site.ask("PUT", "/admin/mcp/calc", body={"url": calc_url})
    response = await site.ask("PUT", "/admin/mcp/calc", body={"url": "http://127.0.0.1:9/mcp"})
    assert (response.status_code, response.json()["error"]) == (502, "Failed to add backend servers.")
    assert (await site.ask("GET", "/admin/mcp/calc")).json()["url"] == calc_url
    assert "calc__echo" in await site.wire().tool_names()


async def test_what_the_operator_wrote_shows_less_to_the_tenant(site: AdminSite, allowed_url: str) -> None:
    """Security K3: secrets are write-only; arguments and paths can be secrets of whoever wrote them."""
    await site.store(
        Backend(
            new_id(),
            site.acme.id,
            "shell",
            Transport.STDIO,
            "operator",
            1,
            command="python",
            args=("--token", SECRET),
            env={"KEY": SECRET},
        )
    )
    await site.store(
        Backend(
            new_id(), site.acme.id, "zap", Transport.STREAMABLE_HTTP, "operator", 1, url=f"https://z.example/{SECRET}"
        )
    )
    await site.ask("PUT", "/admin/mcp/own", token=site.admin, body={"url": allowed_url})

    for path in ("/admin/mcp", "/admin/mcp/shell", "/admin/mcp/zap"):
        assert SECRET not in (await site.ask("GET", path, token=site.admin)).text
    shell = (await site.ask("GET", "/admin/mcp/shell", token=site.admin)).json()
    assert (shell["command"], shell["args"], shell["env"]) == ("python", ["[redacted]"] * 2, {"KEY": "[redacted]"})
    assert (await site.ask("GET", "/admin/mcp/zap", token=site.admin)).json()["url"] == "https://z.example/[redacted]"
    assert (await site.ask("GET", "/admin/mcp/own", token=site.admin)).json()["url"] == allowed_url

    operator = (await site.ask("GET", "/admin/mcp/shell")).json()
    assert (operator["args"], operator["env"]) == (["--token", SECRET], {"KEY": "[redacted]"})


async def test_the_tools_of_a_server_are_shown_as_it_wrote_them(
    site: AdminSite, calc_url: str, calc: McpBackend
) -> None:
    """D11: `{"name", "tools": [{name, description, input_schema}]}`."""
    schema = {"type": "object", "properties": {"x": {"type": "number", "vendor": [1.50]}}}
    calc.definitions = [tool("a.b", inputSchema=schema), {"name": "bare", "inputSchema": {"type": "object"}}]
    await site.ask("PUT", "/admin/mcp/calc", body={"url": calc_url})

    response = await site.ask("GET", "/admin/mcp/calc/tools")

    assert response.json() == {
        "name": "calc",
        "tools": [
            {"name": "a.b", "listed_as": "calc__a_b", "description": "The a.b tool", "input_schema": schema},
            {"name": "bare", "listed_as": "calc__bare", "description": None, "input_schema": {"type": "object"}},
        ],
    }


async def test_a_server_that_cannot_be_listed_is_a_502(site: AdminSite, calc_url: str) -> None:
    """D11: 502; an empty list is an answer only when the server gave one."""
    broken = Backend(new_id(), site.acme.id, "dead", Transport.AUTO, "operator", 1, url="http://127.0.0.1:9/mcp")
    await site.store(broken)
    response = await site.ask("GET", "/admin/mcp/dead/tools")
    assert (response.status_code, response.json()["error"]) == (502, "The server's tools cannot be listed.")
    assert response.json()["details"][0].startswith("dead: ")

    await site.ask("PUT", "/admin/mcp/off", body={"url": calc_url, "enabled": False})
    off = await site.ask("GET", "/admin/mcp/off/tools")
    assert (off.status_code, off.json()["details"]) == (502, ["off: it is disabled"])

    assert (await site.ask("GET", "/admin/mcp/none/tools")).status_code == 404


async def test_a_server_with_no_tools_has_an_empty_list(site: AdminSite, calc_url: str, calc: McpBackend) -> None:
    """Method not found to `tools/list` is an answer as well."""

    async def unknown(http: Http) -> None:
        await http.error(-32601, "Method not found")

    calc.handlers["tools/list"] = unknown
    assert (await site.ask("PUT", "/admin/mcp/calc", body={"url": calc_url})).status_code == 200
    response = await site.ask("GET", "/admin/mcp/calc/tools")
    assert (response.status_code, json.loads(response.content)) == (200, {"name": "calc", "tools": []})


async def test_no_answer_is_kept_by_anybody(site: AdminSite) -> None:
    """Administration is private, its refusals included."""
    for path in ("/servers", "/tools", "/admin/mcp", "/admin/mcp/none", "/status", "/metrics"):
        assert (await site.ask("GET", path, token=PLATFORM_KEY)).headers["cache-control"] == "no-store"
