"""/admin/assistants: compatibility D11; on both databases."""

import asyncio
import json
from typing import Any, Final

import pytest

from tests.support.admin_site import PLATFORM_KEY, AdminSite
from tests.support.llm.scripted import Said, ScriptedOpenAI
from tests.support.llm.serving import serve

TENANT: Final[dict[str, Any]] = {
    "mcpServers": {"calc": {"command": "python"}},
    "providers": {"local": {"base_url": "http://127.0.0.1:1/v1"}},
}
SHORT: Final[dict[str, Any]] = {"provider": "local", "model": "m"}
WHOLE: Final[dict[str, Any]] = {
    "provider": "local",
    "model": "gpt-4o",
    "description": "Finds out",
    "system_prompt": "Answer with sources.",
    "mcp_servers": ["calc"],
    "max_tool_iterations": 3,
    "temperature": 0.2,
    "top_p": 1.0,
    "max_tokens": 1024,
    "extra_body": {"seed": 7},
    "options": {"vision": True},
}


async def test_an_assistant_is_put_shown_and_deleted(site: AdminSite) -> None:
    """D11: GET, PUT, DELETE `/admin/assistants[/{name}]`."""
    await site.configure(**TENANT)
    put = await site.ask("PUT", "/admin/assistants/research", body={"name": "research", **WHOLE})
    shown = {"name": "research", **WHOLE, "origin": "platform", "revision": 1}
    assert (put.status_code, put.json()) == (200, shown)
    assert (await site.ask("GET", "/admin/assistants/research")).json() == shown
    assert (await site.ask("GET", "/admin/assistants", token=site.admin)).json() == {"assistants": [shown]}

    again = await site.ask("PUT", "/admin/assistants/research", token=site.admin, body={**SHORT, "mcp_servers": "*"})
    assert again.json() == {
        "name": "research",
        "provider": "local",
        "model": "m",
        "description": "",
        "system_prompt": "",
        "mcp_servers": "*",
        "max_tool_iterations": 8,
        "temperature": None,
        "top_p": None,
        "max_tokens": None,
        "extra_body": {},
        "options": {},
        "origin": "tenant",
        "revision": 2,
    }
    deleted = await site.ask("DELETE", "/admin/assistants/research")
    assert (deleted.status_code, deleted.json()) == (200, {"removed": "research"})
    for method in ("GET", "DELETE"):
        missing = await site.ask(method, "/admin/assistants/research")
        assert (missing.status_code, missing.json()["error"]) == (404, "Unknown assistant 'research'.")


async def test_an_older_client_says_backend(site: AdminSite) -> None:
    """Contract, Surfaces: the body field `backend` is an alias."""
    await site.configure(**TENANT)
    put = await site.ask("PUT", "/admin/assistants/research", body={"backend": "local", "model": "m"})
    assert (put.status_code, put.json()["provider"]) == (200, "local")
    both = await site.ask("PUT", "/admin/assistants/research", body={**SHORT, "backend": "local"})
    assert both.status_code == 200
    torn = await site.ask("PUT", "/admin/assistants/research", body={**SHORT, "backend": "other"})
    assert torn.json()["details"][0] == "backend: says something else than provider; one of them is enough"


async def test_a_name_may_hold_slashes(site: AdminSite) -> None:
    """The names of models do."""
    await site.configure(**TENANT)
    for path in ("team/writer", "team%2Fwriter:latest"):
        assert (await site.ask("PUT", f"/admin/assistants/{path}", body=SHORT)).status_code == 200
    listed = (await site.ask("GET", "/admin/assistants")).json()["assistants"]
    assert [each["name"] for each in listed] == ["team/writer", "team/writer:latest"]
    assert (await site.ask("DELETE", "/admin/assistants/team/writer")).json() == {"removed": "team/writer"}


async def test_a_name_may_be_what_people_write(site: AdminSite) -> None:
    """Compatibility D2, D11: older configurations name assistants freely."""
    await site.configure(**TENANT)
    path = "/admin/assistants/My%20Assistant%20%28f%C3%BCr%20%F0%9F%9A%80%29"
    assert (await site.ask("PUT", path, body=SHORT)).json()["name"] == "My Assistant (für 🚀)"
    assert (await site.ask("GET", path)).status_code == 200
    assert (await site.ask("DELETE", path)).json() == {"removed": "My Assistant (für 🚀)"}


DEEP: Final = json.loads("[" * 33 + "]" * 33)


@pytest.mark.parametrize(
    ("name", "definition", "detail"),
    [
        (".a", SHORT, "name: expected 1 to 64 printable characters, none of ?#%\\, no dot at the beginning"),
        ("a%E2%80%8Bb", SHORT, "name: expected 1 to 64 printable characters"),
        ("", SHORT, "name: expected 1 to 64 printable characters"),
        ("mcp-gateway", SHORT, 'name: "mcp-gateway" is the gateway\'s own model'),
        ("a", {**SHORT, "name": "b"}, "name: expected the name that stands in the path, or none"),
        ("a", {"model": "m"}, "provider: required, but missing"),
        ("a", {**SHORT, "provider": "locl"}, 'provider: no provider "locl" here (did you mean "local"?)'),
        (
            "a",
            {**SHORT, "mcp_servers": ["calc", "calk"]},
            'mcp_servers[1]: no server "calk" here (did you mean "calc"?)',
        ),
        ("a", {**SHORT, "mcp_servers": ["calc"] * 201}, "mcp_servers: expected at most 200 servers"),
        ("a", {**SHORT, "temperature": 3}, "temperature: expected a number <= 2"),
        ("a", {**SHORT, "max_tool_iterations": 0}, "max_tool_iterations: expected a whole number >= 1"),
        ("a", {**SHORT, "model": "a\0b"}, "model: expected printable characters"),
        ("a", {**SHORT, "options": {"task_model": "\n"}}, "options.task_model: expected printable characters"),
        ("a", {**SHORT, "options": {"visoin": True}}, 'options.visoin: unknown key (did you mean "vision"?)'),
        ("a", {**SHORT, "system_prompt": "x" * 200_001}, "system_prompt: expected text of length <= 200000"),
        ("a", {**SHORT, "extra_body": []}, "extra_body: expected a mapping"),
        ("a", {**SHORT, "extra_body": {"x": "y" * 65_536}}, "extra_body: expected at most 64 KiB of JSON"),
        ("a", {**SHORT, "extra_body": {"x": DEEP}}, "extra_body: expected at most 32 levels"),
        ("a", {**SHORT, "extra_body": {"api_key": "[redacted]"}}, "extra_body.api_key: expected the value itself"),
        ("a", {**SHORT, "origin": "operator"}, "origin: unknown key"),
        ("a", [], "expected a mapping, got a list"),
    ],
)
async def test_a_wrong_definition_is_a_422_that_names_the_field(
    site: AdminSite, name: str, definition: Any, detail: str
) -> None:
    """D11: 422 invalid or unknown reference."""
    await site.configure(**TENANT)
    response = await site.ask("PUT", f"/admin/assistants/{name}", body=definition)
    assert (response.status_code, response.json()["error"]) == (422, "Invalid assistant configuration.")
    assert response.json()["details"][0].startswith(detail)
    assert (await site.ask("GET", "/admin/assistants")).json() == {"assistants": []}


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "1" + "0" * 400, "1" + "0" * 4000, "18446744073709551616", "-9223372036854775809"]
)
async def test_a_number_that_goes_through_no_json_is_refused(site: AdminSite, number: str) -> None:
    """What is stored must be readable again, here and at the provider."""
    await site.configure(**TENANT)
    body = f'{{"provider": "local", "model": "m", "extra_body": {{"x": {number}}}}}'.encode()
    response = await site.ask("PUT", "/admin/assistants/a", body=body)
    assert response.status_code == 422
    assert response.json()["details"] == ["extra_body: expected finite numbers of at most 64 bits"]


async def test_references_are_looked_for_in_one_s_own_tenant(site: AdminSite) -> None:
    """Security T1: another tenant's provider and servers do not exist; its assistants are not seen."""
    await site.configure(**TENANT)
    foreign = await site.ask("PUT", "/admin/assistants/a", tenant="rival", body={**SHORT, "mcp_servers": ["calc"]})
    assert foreign.status_code == 422
    assert foreign.json()["details"] == ['provider: no provider "local" here', 'mcp_servers[0]: no server "calc" here']
    await site.ask("PUT", "/admin/assistants/a", body=SHORT)
    assert (await site.ask("GET", "/admin/assistants", tenant="rival")).json() == {"assistants": []}
    for method in ("GET", "DELETE"):
        assert (await site.ask(method, "/admin/assistants/a", tenant="rival")).status_code == 404


async def test_an_assistant_is_a_model_at_once_and_none_at_once(site: AdminSite) -> None:
    """D11: live at once, in chats and in the list of models."""
    headers = {"Authorization": f"Bearer {site.chatter}"}
    chat = {"model": "research", "messages": [{"role": "user", "content": "Hello"}]}
    client = site.clients[0]
    assert (await client.post("/v1/chat/completions", json=chat, headers=headers)).status_code == 404
    llm = ScriptedOpenAI(script=[Said("Hello back")])
    async with serve(llm.app()) as url:
        await site.ask("PUT", "/admin/providers/local", body={"base_url": f"{url}/v1"})
        await site.ask(
            "PUT", "/admin/assistants/research", token=site.admin, body={**SHORT, "system_prompt": "Be short."}
        )
        answered = await client.post("/v1/chat/completions", json=chat, headers=headers)
        assert answered.json()["choices"][0]["message"]["content"] == "Hello back"
    assert llm.requests[0]["messages"][0] == {"role": "system", "content": "Be short."}
    models = (await client.get("/v1/models", headers=headers)).json()["data"]
    assert "research" in [model["id"] for model in models]

    await site.ask("DELETE", "/admin/assistants/research")
    gone = await client.post("/v1/chat/completions", json=chat, headers=headers)
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")


async def test_every_change_is_in_the_audit_trail(site: AdminSite) -> None:
    """Security A3; a change that changes nothing is none."""
    await site.configure(**TENANT)
    await site.ask("PUT", "/admin/assistants/a", body=SHORT, token=site.admin)
    await site.ask("PUT", "/admin/assistants/a", body=SHORT, token=site.admin)
    await site.ask("PUT", "/admin/assistants/a", body=WHOLE)
    await site.ask("DELETE", "/admin/assistants/a", token=site.admin)

    events = [event for event in reversed(await site.events()) if event.event.startswith("assistant.")]

    assert [(event.event, event.user_id, dict(event.detail)) for event in events] == [
        ("assistant.added", site.ann.id, {"name": "a", "provider": "local", "model": "m", "by": "administrator"}),
        ("assistant.replaced", None, {"name": "a", "provider": "local", "model": "gpt-4o", "by": "platform key"}),
        ("assistant.removed", site.ann.id, {"name": "a", "by": "administrator"}),
    ]
    assert all(event.request_id for event in events)


async def test_a_file_takes_over_a_name_that_it_lists_and_leaves_the_others(site: AdminSite) -> None:
    """D11, kept: as for servers."""
    await site.configure(**TENANT)
    await site.ask("PUT", "/admin/assistants/mine", body=SHORT, token=site.admin)
    await site.ask("PUT", "/admin/assistants/theirs", body=WHOLE)
    await site.configure(**TENANT, assistants=[{"name": "theirs", **SHORT}])
    listed = (await site.ask("GET", "/admin/assistants")).json()["assistants"]
    assert [(each["name"], each["model"], each["origin"]) for each in listed] == [
        ("mine", "m", "tenant"),
        ("theirs", "m", "operator"),
    ]


async def test_an_assistant_and_its_provider_take_turns(site: AdminSite) -> None:
    """Added while the provider is removed: one of the two is refused, whichever came second."""
    for _ in range(8):
        await site.ask("PUT", "/admin/providers/local", body={})
        put, removed = await asyncio.gather(
            site.ask("PUT", "/admin/assistants/a", body=SHORT), site.ask("DELETE", "/admin/providers/local")
        )
        assert sorted([put.status_code, removed.status_code]) == [200, 422]
        await site.ask("DELETE", "/admin/assistants/a")
        await site.ask("DELETE", "/admin/providers/local")


async def test_a_name_that_nobody_has_is_a_404(site: AdminSite) -> None:
    """No name, however odd, becomes a fault of ours."""
    for name in ("none", "", "a%00b", "%F0%9F%98%80", "x" * 3000, "..%2f..%2fetc", "a//b"):
        for method in ("GET", "DELETE"):
            assert (await site.ask(method, f"/admin/assistants/{name}", token=PLATFORM_KEY)).status_code == 404


async def test_the_prompts_of_a_tenant_are_limited_together(site: AdminSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Security T8: every worker holds them; what shrinks is always taken."""
    await site.configure(**TENANT)
    for name in ("a", "b"):
        await site.ask("PUT", f"/admin/assistants/{name}", body={**SHORT, "system_prompt": "é" * 500})
    monkeypatch.setattr("gateway_proxy.provisioning.assistant_edits.MOST_TEXT", 1500)
    for name, length in (("c", 1), ("a", 501)):
        grown = await site.ask("PUT", f"/admin/assistants/{name}", body={**SHORT, "system_prompt": "é" * length})
        assert grown.status_code == 422
        assert grown.json()["details"] == ["system_prompt: expected at most 1500 bytes in all assistants of a tenant"]
    for length in (499, 100):
        body = {**SHORT, "system_prompt": "é" * length}
        assert (await site.ask("PUT", "/admin/assistants/a", body=body)).status_code == 200
    body = {**SHORT, "extra_body": {"x": "y" * 200}}
    assert (await site.ask("PUT", "/admin/assistants/c", body=body)).status_code == 200


async def test_edits_are_limited_in_rate_and_number(site: AdminSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Security T8, L3."""
    await site.configure(**TENANT)
    monkeypatch.setattr("gateway_proxy.provisioning.assistant_edits.MOST_ASSISTANTS", 2)
    for name in ("a", "b", "a"):
        assert (await site.ask("PUT", f"/admin/assistants/{name}", body=SHORT)).status_code == 200
    full = await site.ask("PUT", "/admin/assistants/c", body=SHORT)
    assert (full.status_code, full.json()["details"]) == (422, ["name: expected at most 2 assistants in a tenant"])
    answers = await asyncio.gather(*(site.ask("PUT", "/admin/assistants/a", body=SHORT) for _ in range(57)))
    assert [answer.status_code for answer in answers].count(429) == 1
