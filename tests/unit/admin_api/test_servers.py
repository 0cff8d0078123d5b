"""/servers and /tools: compatibility B9-B12; on both databases."""

import asyncio
from typing import Any

import pytest

from gateway_proxy.domain.backend import Backend, Transport
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.tenant import Naming
from tests.support.admin_site import PLATFORM_KEY, AdminSite, open_admin_site
from tests.support.mcp_backends import McpBackend, demo_backend, serve

PYTHON = {"command": "python", "args": ["-m", "x"]}


async def test_servers_are_added_listed_and_removed(site: AdminSite, calc_url: str) -> None:
    """B9, B10, B11 with the platform key."""
    added = await site.post({"zeta": {"url": calc_url}, "Alpha": {"transport": "http", "url": calc_url}})
    assert (added.status_code, added.json()) == (200, {"added": ["Alpha", "zeta"]})
    assert await site.names() == ["Alpha", "zeta"]
    tools = (await site.ask("GET", "/tools")).json()
    assert tools == {
        "tools": {
            "Alpha": ["Alpha__count", "Alpha__echo", "Alpha__echo_events"],
            "zeta": ["zeta__count", "zeta__echo", "zeta__echo_events"],
        }
    }
    assert await site.wire().tool_names() == [*tools["tools"]["Alpha"], *tools["tools"]["zeta"]]

    removed = await site.ask("DELETE", "/servers/zeta")
    assert (removed.status_code, removed.json()) == (200, {"removed": "zeta"})
    assert await site.names() == ["Alpha"]
    assert await site.wire().tool_names() == tools["tools"]["Alpha"]
    assert (await site.ask("GET", "/tools")).json() == {"tools": {"Alpha": tools["tools"]["Alpha"]}}

    again = await site.ask("DELETE", "/servers/zeta")
    assert (again.status_code, again.json()["error"]) == (404, "Unknown server 'zeta'.")


async def test_a_new_server_goes_on_with_the_session_of_its_trial(
    site: AdminSite, calc_url: str, calc: McpBackend
) -> None:
    """The connect test is no second start of a process."""
    await site.post({"calc": {"url": calc_url}})
    await site.wire().tool_names()
    assert len(calc.calls("initialize")) == 1
    assert calc.ended == []


async def test_the_same_name_replaces(site: AdminSite, calc_url: str, calc: McpBackend) -> None:
    """B10; what ran for the definition before ends, and so does the trial."""
    other = McpBackend(tools={"only": calc.tools["echo"]})
    await site.post({"calc": {"url": calc_url}})
    await site.wire().tool_names()
    async with serve(other) as url:
        replaced = await site.post({"calc": {"url": f"{url}/mcp"}})
        assert replaced.json() == {"added": ["calc"]}
        assert await site.wire().tool_names() == ["calc__only"]
        async with asyncio.timeout(5):
            while not calc.ended or not other.ended:
                await asyncio.sleep(0.01)
    stored = await site.stored("calc")
    assert stored is not None
    assert (stored.revision, stored.origin) == (2, "platform")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Invalid JSON payload: line 1, column 1: Expecting value"),
        (b"{", "Invalid JSON payload: line 1, column 2: "),
        (b'{"mcpServers": {}, "mcpServers": {}}', 'Invalid JSON payload: the key "mcpServers" stands twice'),
        (b'{"mcpServers": NaN}', "Invalid JSON payload: NaN is not JSON"),
        (b'{"mcpServers": {"a": "\xff"}}', "Invalid JSON payload: expected UTF-8 text; byte 22 is not"),
        (b'{"mcpServers": {"a": "\\ud800"}}', "Invalid JSON payload: expected whole characters"),
        (b"[" * 100_000, "Invalid JSON payload: nested too deeply"),
    ],
)
async def test_what_is_not_json_is_a_400(site: AdminSite, body: bytes, reason: str) -> None:
    """B10: bad JSON."""
    response = await site.ask("POST", "/servers", body=body)
    assert response.status_code == 400
    assert response.json()["error"].startswith(reason)
    assert response.json()["details"] == []


@pytest.mark.parametrize(
    ("servers", "details"),
    [
        (
            {"calc": {}},
            ["mcpServers.calc: expected command (a program to start) or url (a server to reach), got neither"],
        ),
        (
            {"a_b": PYTHON, "calc": {**PYTHON, "nonsense": 1}},
            [
                "mcpServers.a_b: expected text matching regex '^[A-Za-z0-9][A-Za-z0-9-]{0,30}$'",
                "mcpServers.calc.nonsense: unknown key",
            ],
        ),
        ({"calc": {**PYTHON, "cwd": "here"}}, ["mcpServers.calc.cwd: expected an absolute path"]),
        ({"calc": {"url": "ftp://x"}}, ["mcpServers.calc.url: expected a URL that starts with https:// or http://"]),
        (
            {"calc": {"url": "https://x", "headers": {"A": "[redacted]"}}},
            ["mcpServers.calc.headers.A: expected the value itself"],
        ),
        ({"calc": {"url": "http://169.254.169.254/mcp"}}, ["mcpServers.calc.url: a link-local, metadata, multicast"]),
        ({}, ["mcpServers: expected 1 to 20 servers"]),
        ({"calc": {**PYTHON, "env": {"A": "a\0b"}}}, ["mcpServers.calc.env.A: a NUL character cannot be passed on"]),
        ({"calc": PYTHON, "Calc": PYTHON}, ['mcpServers.Calc: the name "Calc" differs from "calc" only in case']),
    ],
)
async def test_a_definition_that_does_not_fit_is_a_422_that_names_the_field(
    site: AdminSite, servers: dict[str, Any], details: list[str]
) -> None:
    """B10: bad configuration; even the operator cannot name a metadata address."""
    response = await site.post(servers)
    assert response.status_code == 422
    assert response.json()["error"] == "Invalid server configuration."
    found = response.json()["details"]
    assert len(found) == len(details)
    for got, expected in zip(found, details, strict=True):
        assert got.startswith(expected)
    assert await site.names() == []


@pytest.mark.parametrize("body", [[], "x", {"servers": {}}, {"mcpServers": []}, {"mcpServers": {"a": 1}}])
async def test_another_shape_is_a_422(site: AdminSite, body: Any) -> None:
    """B10: bad configuration."""
    response = await site.ask("POST", "/servers", body=body)
    assert (response.status_code, response.json()["error"]) == (422, "Invalid server configuration.")
    assert response.json()["details"]


async def test_nothing_is_added_when_one_cannot_be_connected_to(
    site: AdminSite, calc_url: str, calc: McpBackend
) -> None:
    """B10: 502 and nothing added; what the trial of the good one opened is let go."""
    response = await site.post({"good": {"url": calc_url}, "dead": {"url": "http://127.0.0.1:9/mcp"}})
    assert response.status_code == 502
    assert response.json()["error"] == "Failed to add backend servers."
    (detail,) = response.json()["details"]
    assert detail.startswith("dead: ")
    assert await site.names() == []
    assert (await site.ask("GET", "/tools")).json() == {"tools": {}}
    async with asyncio.timeout(5):
        while not calc.ended:
            await asyncio.sleep(0.01)
    assert await site.events() == []


async def test_a_command_needs_a_runner_and_says_so(site: AdminSite) -> None:
    """B10: the connect test takes the way of every call, with every wall of it (security 2, 5)."""
    response = await site.post({"calc": PYTHON})
    assert (response.status_code, response.json()["details"]) == (502, ["calc: no runner is configured"])


async def test_a_disabled_server_is_stored_without_a_trial(site: AdminSite) -> None:
    """It is listed among the servers and lists no tools."""
    response = await site.post({"later": {"url": "http://127.0.0.1:9/mcp", "disabled": True}})
    assert response.json() == {"added": ["later"]}
    assert await site.names() == ["later"]
    assert (await site.ask("GET", "/tools")).json() == {"tools": {}}


@pytest.mark.parametrize(
    ("server", "fields"),
    [
        ({"command": "python"}, ["command"]),
        ({"command": "sh", "env": {"A": "b"}, "cwd": "/"}, ["command", "cwd", "env"]),
        ({"url": "http://127.0.0.1:1/mcp"}, ["url"]),
        ({"url": "https://127.0.0.1/mcp"}, ["url"]),
        ({"url": "https://[::1]/mcp"}, ["url"]),
        ({"url": "https://10.1.2.3/mcp"}, ["url"]),
        ({"url": "https://169.254.169.254/latest"}, ["url"]),
        ({"url": "http://93.184.216.34/mcp"}, ["url"]),
        ({"transport": "sse", "url": "https://192.168.0.9/sse"}, ["url"]),
        ({"transport": "openapi", "url": "https://172.16.0.9/openapi.json"}, ["url"]),
    ],
)
async def test_a_tenant_s_administrator_may_not_define_what_only_the_operator_may(
    site: AdminSite, server: dict[str, Any], fields: list[str]
) -> None:
    """Contract, Surfaces: 422 with details naming the field; the same for the connect test."""
    posted = await site.post({"calc": server}, token=site.admin)
    put = await site.ask("PUT", "/admin/mcp/calc", token=site.admin, body=server)
    for response, prefix in ((posted, "mcpServers.calc."), (put, "")):
        assert response.status_code == 422
        assert [detail.partition(":")[0] for detail in response.json()["details"]] == [prefix + name for name in fields]
    assert await site.names() == []


async def test_a_tenant_s_administrator_may_define_what_the_operator_allowed(site: AdminSite, allowed_url: str) -> None:
    """Contract, GATEWAY_EGRESS_ALLOW: what definitions made at run time may reach."""
    response = await site.post({"calc": {"url": allowed_url, "headers": {"X-Key": "s3cret"}}}, token=site.admin)
    assert response.json() == {"added": ["calc"]}
    stored = await site.stored("calc")
    assert stored is not None
    assert (stored.origin, stored.headers) == ("tenant", {"X-Key": "s3cret"})
    assert "calc__echo" in await site.wire().tool_names()


async def test_a_variable_stands_for_itself(
    site: AdminSite, allowed_url: str, calc: McpBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP `${VAR}` would hand the gateway's environment to whoever may define a server."""
    monkeypatch.setenv("GATEWAY_SECRET_KEYS", "do-not-send")
    await site.post({"calc": {"url": allowed_url, "headers": {"X-Key": "${GATEWAY_SECRET_KEYS}"}}}, token=site.admin)
    assert {headers["x-key"] for _, headers in calc.seen} == {"${GATEWAY_SECRET_KEYS}"}


async def test_prefix_none_is_for_one_server(database_url: str, tmp_path: Any, calc_url: str) -> None:
    """Contract, Names of tools: with two backends it is a configuration error."""
    async with open_admin_site(database_url, tmp_path / "data", naming=Naming("none")) as site:
        assert (await site.post({"one": {"url": calc_url}})).status_code == 200
        assert (await site.post({"one": {"url": calc_url}})).status_code == 200
        second = await site.post({"two": {"url": calc_url}})
        assert second.status_code == 422
        assert second.json()["details"] == [
            'mcpServers.two: naming.prefix "none" is for one server, and there would be 2'
        ]


async def test_a_name_that_differs_from_a_stored_one_in_case_is_refused(site: AdminSite, calc_url: str) -> None:
    """Two names that people take for one would hide each other."""
    await site.post({"calc": {"url": calc_url}})
    response = await site.post({"CALC": {"url": calc_url}})
    assert response.json()["details"] == ['mcpServers.CALC: the name "CALC" differs from "calc" only in case']


async def test_a_server_that_nobody_has_is_a_404(site: AdminSite) -> None:
    """B11; no name, however odd, becomes a fault of ours."""
    for name in ("none", "a%00b", "%F0%9F%98%80", "x" * 3000, "..%2f..%2fetc"):
        assert (await site.ask("DELETE", f"/servers/{name}")).status_code == 404


async def test_every_change_is_in_the_audit_trail(site: AdminSite, allowed_url: str) -> None:
    """Security A3: who added, replaced and removed what; a change that changes nothing is none."""
    await site.post({"calc": {"url": allowed_url}}, token=site.admin)
    await site.post({"calc": {"url": allowed_url}}, token=site.admin)
    await site.post({"calc": {"url": allowed_url, "timeout": 5}})
    await site.ask("DELETE", "/servers/calc", token=site.admin)

    events = [event for event in reversed(await site.events()) if event.event.startswith("backend.")]

    assert [(event.event, event.user_id, event.detail["by"]) for event in events] == [
        ("backend.added", site.ann.id, "administrator"),
        ("backend.replaced", None, "platform key"),
        ("backend.removed", site.ann.id, "administrator"),
    ]
    assert all(event.request_id and event.detail["name"] == "calc" for event in events)


async def test_other_tenants_see_nothing_of_it(site: AdminSite, calc_url: str) -> None:
    """Security T1, T4: the tenant comes from the token's row, whatever the query says."""
    await site.post({"calc": {"url": calc_url}})
    assert await site.names(tenant="rival") == []
    assert (await site.ask("DELETE", "/servers/calc", tenant="rival")).status_code == 404
    headers = {"Authorization": f"Bearer {site.admin}"}
    response = await site.clients[0].get("/servers", params={"tenant": "rival"}, headers=headers)
    assert response.json() == {"servers": ["calc"]}


async def test_a_server_of_the_configuration_can_be_replaced_and_removed(site: AdminSite, calc_url: str) -> None:
    """B10, B11: rows of any origin."""
    await site.store(Backend(new_id(), site.acme.id, "calc", Transport.AUTO, "operator", 1, url="https://x.example"))
    assert (await site.post({"calc": {"url": calc_url}})).json() == {"added": ["calc"]}
    assert (await site.ask("DELETE", "/servers/calc", token=site.admin)).status_code == 200


async def test_edits_of_one_tenant_are_limited(site: AdminSite) -> None:
    """Security T8, L3: a flood of connect tests is refused, with a time to come back."""
    statuses = [
        (await site.post({"x": {"url": "https://127.0.0.1/mcp"}}, token=site.admin)).status_code for _ in range(61)
    ]
    assert statuses == [422] * 60 + [429]
    refused = await site.post({"x": {"url": "https://127.0.0.1/mcp"}}, token=site.admin)
    assert int(refused.headers["retry-after"]) >= 1
    assert await site.names() == []


async def test_edits_at_the_same_time_take_turns(site: AdminSite) -> None:
    """Two definitions of one name: both are stored one after the other, and one row stands there."""
    backend = demo_backend()
    async with serve(backend) as url:
        definitions = [{"calc": {"url": f"{url}/mcp", "timeout": number}} for number in range(1, 9)]
        answers = await asyncio.gather(*map(site.post, definitions))
    assert [answer.status_code for answer in answers] == [200] * 8
    stored = await site.stored("calc")
    assert stored is not None
    assert stored.revision == 8


async def test_methods_and_sizes_are_bounded(site: AdminSite) -> None:
    """Contract, Errors: the same shape for what the server itself refuses."""
    wrong = await site.ask("PATCH", "/servers")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")
    assert wrong.json() == {"error": "Method not allowed.", "details": ["expected GET, POST"]}
    large = await site.ask("POST", "/servers", body=b" " * (1024 * 1024 + 1))
    assert (large.status_code, large.json()["error"]) == (413, "The body is too large.")


async def test_the_head_of_a_page_is_answered_without_a_body(site: AdminSite) -> None:
    """RFC 9110 §9.3.2."""
    response = await site.ask("HEAD", "/servers", token=PLATFORM_KEY)
    assert response.status_code == 200
