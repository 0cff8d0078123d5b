"""/admin/providers, also called /admin/backends: compatibility D11; on both databases."""

import asyncio
from typing import Any, Final

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.providers import find_provider
from gateway_proxy.storage.sql.tables import providers
from tests.support.admin_site import PLATFORM_KEY, SECRET_KEY, AdminSite
from tests.support.llm.scripted import Said, ScriptedOpenAI
from tests.support.llm.serving import serve

KEY: Final = "sk-s3cret-0123456789"
PUBLIC: Final = "https://93.184.216.34/v1"
SHOWN: Final[dict[str, Any]] = {
    "name": "local",
    "kind": "openai",
    "base_url": PUBLIC,
    "api_key": "[redacted]",
    "default_headers": {"X-Team": "[redacted]"},
    "timeout": 9.0,
    "origin": "platform",
    "revision": 1,
}
DEFINITION: Final[dict[str, Any]] = {
    "base_url": f"{PUBLIC}/",
    "api_key": KEY,
    "default_headers": {"X-Team": KEY},
    "timeout": 9,
}


@pytest.mark.parametrize("plural", ["providers", "backends"])
async def test_a_provider_is_put_shown_and_deleted(site: AdminSite, plural: str) -> None:
    """D11: GET, PUT, DELETE; both names mean the same (contract, Surfaces)."""
    put = await site.ask("PUT", f"/admin/{plural}/local", body={"name": "local", "kind": "openai", **DEFINITION})
    assert (put.status_code, put.json()) == (200, SHOWN)
    assert (await site.ask("GET", f"/admin/{plural}/local")).json() == SHOWN
    assert (await site.ask("GET", f"/admin/{plural}")).json() == {plural: [SHOWN]}
    assert (await site.ask("GET", "/admin/providers")).json() == {"providers": [SHOWN]}

    deleted = await site.ask("DELETE", f"/admin/{plural}/local")
    assert (deleted.status_code, deleted.json()) == (200, {"removed": "local"})
    for method in ("GET", "DELETE"):
        missing = await site.ask(method, f"/admin/{plural}/local")
        assert (missing.status_code, missing.json()["error"]) == (404, "Unknown provider 'local'.")


async def test_what_is_left_out_of_a_put_has_its_default(site: AdminSite) -> None:
    """A key is not kept behind another address: whoever changes the address sends the key again."""
    await site.ask("PUT", "/admin/providers/local", body=DEFINITION)
    put = await site.ask("PUT", "/admin/providers/local", body={"kind": "anthropic"}, token=site.admin)
    assert put.json() == {
        "name": "local",
        "kind": "anthropic",
        "base_url": "https://api.anthropic.com/v1",
        "api_key": "",
        "default_headers": {},
        "timeout": 300.0,
        "origin": "tenant",
        "revision": 2,
    }


async def test_a_key_is_sealed_in_the_database(site: AdminSite) -> None:
    """Security K1: the row opens with the gateway's keys, and holds nothing of the key itself."""
    await site.ask("PUT", "/admin/providers/local", body=DEFINITION)

    def row(session: Session) -> str:
        return repr(tuple(session.execute(select(providers)).one()))

    assert KEY not in await site.database.read(row)
    stored = await site.database.read(
        find_provider, tenant_id=site.acme.id, name="local", keyring=Keyring([SECRET_KEY])
    )
    assert stored is not None
    assert (stored.api_key, stored.default_headers) == (KEY, {"X-Team": KEY})


@pytest.mark.parametrize(
    ("name", "definition", "detail"),
    [
        ("-a", {}, "name: expected 1 to 64 letters, digits, dots, underscores and hyphens"),
        ("x" * 65, {}, "name: expected 1 to 64 letters"),
        ("a%0A", {}, "name: expected 1 to 64 letters"),
        ("local", {"name": "other"}, "name: expected the name that stands in the path, or none"),
        ("local", {"kind": "gemini"}, "kind: expected one of openai, anthropic"),
        ("local", {"origin": "operator"}, "origin: unknown key"),
        ("local", {"base_url": "ftp://x"}, "base_url: expected a URL that starts with https:// or http://"),
        ("local", {"base_url": f"{PUBLIC}?key=1"}, "base_url: expected no query"),
        ("local", {"base_url": f"{PUBLIC}/{'x' * 2048}"}, "base_url: expected at most 2048 characters"),
        ("local", {"base_url": "https://u:p@x.example/v1"}, "base_url: expected no user or password in the URL"),
        ("local", {"base_url": "http://169.254.169.254/v1"}, "base_url: a link-local, metadata, multicast"),
        ("local", {"timeout": 0}, "timeout: expected a number > 0"),
        ("local", {"api_key": 7}, "api_key: expected text"),
        ("local", {"api_key": "a\nb"}, "api_key: expected one line of printable characters"),
        ("local", {"api_key": "x" * 8193}, "api_key: expected at most 8192 characters"),
        ("local", {"api_key": "[redacted]"}, "api_key: expected the value itself"),
        ("local", {"default_headers": {"X-Key": "[redacted]"}}, "default_headers.X-Key: expected the value itself"),
        ("local", {"default_headers": {"Host": "x"}}, "default_headers.Host: expected a header that HTTP itself"),
        ("local", {"default_headers": {"X-A": " x"}}, "default_headers.X-A: expected a header that HTTP itself"),
        (
            "local",
            {"default_headers": {f"X-{number}": "" for number in range(51)}},
            "default_headers: expected at most 50 headers",
        ),
        (
            "local",
            {"default_headers": {f"X-{number}": "x" * 8000 for number in range(3)}},
            "default_headers: expected at most 16384 characters in all",
        ),
        ("local", [], "expected a mapping, got a list"),
    ],
)
async def test_a_wrong_definition_is_a_422_that_names_the_field(
    site: AdminSite, name: str, definition: Any, detail: str
) -> None:
    """D11: 422 invalid; even the operator cannot name a metadata address."""
    response = await site.ask("PUT", f"/admin/providers/{name}", body=definition)
    assert (response.status_code, response.json()["error"]) == (422, "Invalid provider configuration.")
    assert response.json()["details"][0].startswith(detail)
    assert (await site.ask("GET", "/admin/providers")).json() == {"providers": []}


async def test_a_wrong_body_is_refused(site: AdminSite) -> None:
    """Contract, Errors: bounded, and JSON."""
    bad = await site.ask("PUT", "/admin/providers/local", body=b"{")
    assert (bad.status_code, bad.json()["error"][:22]) == (400, "Invalid JSON payload: ")
    large = await site.ask("PUT", "/admin/providers/local", body=b" " * (1024 * 1024 + 1))
    assert large.status_code == 413
    wrong = await site.ask("POST", "/admin/backends", body={})
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:1/v1", "https://10.1.2.3/v1", "https://[::1]/v1", "http://93.184.216.34/v1"]
)
async def test_a_tenant_s_administrator_names_public_addresses_only(site: AdminSite, base_url: str) -> None:
    """Contract, Surfaces: 422 with details naming the field; the platform key may."""
    response = await site.ask("PUT", "/admin/providers/local", token=site.admin, body={"base_url": base_url})
    assert response.status_code == 422
    (detail,) = response.json()["details"]
    assert detail.startswith("base_url: ")
    assert detail.endswith("only the operator may define a provider there, or allow it (GATEWAY_EGRESS_ALLOW)")
    assert (await site.ask("PUT", "/admin/providers/local", body={"base_url": base_url})).status_code == 200


async def test_a_provider_of_the_platform_key_is_chatted_with_at_once(site: AdminSite) -> None:
    """D11, live at once; contract, GATEWAY_EGRESS_ALLOW: what the platform key wrote may stand on this machine."""
    headers = {"Authorization": f"Bearer {site.chatter}"}
    chat = {"model": "any", "messages": [{"role": "user", "content": "Hello"}]}
    unknown = await site.clients[0].post("/v1/chat/completions", json=chat, headers=headers)
    assert unknown.status_code == 404
    llm = ScriptedOpenAI(script=[Said("Hello back")])
    async with serve(llm.app()) as url:
        await site.ask("PUT", "/admin/providers/default", body={"base_url": f"{url}/v1", "api_key": KEY})
        answered = await site.clients[0].post("/v1/chat/completions", json=chat, headers=headers)
    assert answered.json()["choices"][0]["message"]["content"] == "Hello back"
    assert llm.headers[0]["authorization"] == f"Bearer {KEY}"
    await site.ask("DELETE", "/admin/providers/default")
    assert (await site.clients[0].post("/v1/chat/completions", json=chat, headers=headers)).status_code == 404


async def test_a_provider_that_an_assistant_names_stays(site: AdminSite) -> None:
    """D11: 422 for a reference that would lead nowhere."""
    await site.configure(
        providers={"local": {"base_url": PUBLIC}},
        assistants=[{"name": "helper", "provider": "local", "model": "m"}],
    )
    response = await site.ask("DELETE", "/admin/providers/local", token=site.admin)
    assert response.status_code == 422
    assert response.json() == {
        "error": "The provider 'local' is in use.",
        "details": ["assistants.helper.provider: change it, or remove it first"],
    }
    assert (await site.ask("GET", "/admin/providers/local")).status_code == 200


async def test_every_change_is_in_the_audit_trail(site: AdminSite) -> None:
    """Security A3: who added, replaced and removed what, and no key; a change that changes nothing is none."""
    await site.ask("PUT", "/admin/providers/local", body=DEFINITION, token=site.admin)
    await site.ask("PUT", "/admin/backends/local", body=DEFINITION, token=site.admin)
    await site.ask("PUT", "/admin/providers/local", body={**DEFINITION, "api_key": f"{KEY}-2"})
    await site.ask("DELETE", "/admin/providers/local", token=site.admin)
    await site.ask("DELETE", "/admin/providers/local", token=site.admin)

    events = list(reversed(await site.events()))

    assert [(event.event, event.user_id, event.detail["by"]) for event in events] == [
        ("provider.added", site.ann.id, "administrator"),
        ("provider.replaced", None, "platform key"),
        ("provider.removed", site.ann.id, "administrator"),
    ]
    assert all(event.request_id and event.detail["name"] == "local" for event in events)
    assert KEY not in repr(events)


async def test_a_file_takes_over_a_name_that_it_lists_and_leaves_the_others(site: AdminSite) -> None:
    """D11, kept: as for servers."""
    await site.ask("PUT", "/admin/providers/local", body=DEFINITION)
    await site.ask("PUT", "/admin/providers/other", body=DEFINITION, token=site.admin)
    await site.configure(providers={"local": {"kind": "anthropic"}})
    shown = (await site.ask("GET", "/admin/providers")).json()["providers"]
    assert [(each["name"], each["kind"], each["origin"]) for each in shown] == [
        ("local", "anthropic", "operator"),
        ("other", "openai", "tenant"),
    ]
    await site.configure()
    assert [each["name"] for each in (await site.ask("GET", "/admin/providers")).json()["providers"]] == ["other"]


async def test_other_tenants_see_nothing_of_it(site: AdminSite) -> None:
    """Security T1, T4."""
    await site.ask("PUT", "/admin/providers/local", body=DEFINITION)
    assert (await site.ask("GET", "/admin/providers", tenant="rival")).json() == {"providers": []}
    for method in ("GET", "DELETE"):
        assert (await site.ask(method, "/admin/providers/local", tenant="rival")).status_code == 404
    await site.ask("PUT", "/admin/providers/local", body={"kind": "anthropic"}, tenant="rival")
    assert (await site.ask("GET", "/admin/providers/local", token=site.admin)).json() == SHOWN


async def test_a_name_that_nobody_has_is_a_404(site: AdminSite) -> None:
    """No name, however odd, becomes a fault of ours."""
    for name in ("none", "a%00b", "%F0%9F%98%80", "x" * 3000, "..%2f..%2fetc"):
        for method in ("GET", "DELETE"):
            assert (await site.ask(method, f"/admin/providers/{name}", token=PLATFORM_KEY)).status_code == 404


async def test_edits_are_limited_in_rate_and_number(site: AdminSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Security T8, L3."""
    monkeypatch.setattr("gateway_proxy.provisioning.provider_edits.MOST_PROVIDERS", 2)
    for name in ("a", "b", "a"):
        assert (await site.ask("PUT", f"/admin/providers/{name}", body={})).status_code == 200
    full = await site.ask("PUT", "/admin/providers/c", body={})
    assert (full.status_code, full.json()["details"]) == (422, ["name: expected at most 2 providers in a tenant"])
    answers = await asyncio.gather(*(site.ask("PUT", "/admin/providers/a", body={}) for _ in range(57)))
    assert [answer.status_code for answer in answers].count(429) == 1
