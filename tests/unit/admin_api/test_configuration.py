"""/admin/config: compatibility D11; on both databases."""

from typing import Any, Final

from sqlalchemy import update
from sqlalchemy.orm import Session

from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.tables import key_probes, providers
from tests.support.admin_site import PLATFORM_KEY, AdminSite

SECRET: Final = "s3cret-and-long-enough-for-a-key"
FILE: Final[dict[str, Any]] = {
    "name": "Acme",
    "mcpServers": {
        "calc": {"command": "python", "args": ["--token", SECRET], "env": {"KEY": SECRET}},
        "remote": {"url": f"https://t.example/{SECRET}?key={SECRET}", "headers": {"Authorization": SECRET}},
    },
    "providers": {
        "local": {
            "base_url": f"http://127.0.0.1:1/{SECRET}/v1",
            "api_key": SECRET,
            "default_headers": {"X-Team": SECRET},
        },
        "open": {"kind": "anthropic"},
    },
    "assistants": [
        {
            "name": "helper",
            "provider": "local",
            "model": "m",
            "mcp_servers": ["calc"],
            "temperature": 0.5,
            "extra_body": {"api_key": SECRET, "nested": [{"auth_token": [SECRET], "seed": 7, "mode": "fast"}]},
        },
        {"name": "all", "provider": "open", "model": "c", "mcp_servers": "*", "options": {"vision": True}},
    ],
    "proxy_api_keys": [{"name": "team", "key": SECRET}],
    "apiman": {
        "mode": "trusted_header",
        "header": "X-Apiman",
        "secret": f"{SECRET}-2",
        "gateway_url": f"https://apiman.example/{SECRET}",
        "probe_path": SECRET,
    },
}
REDACTED: Final = "[redacted]"


async def test_the_page_holds_all_of_the_configuration_and_no_secret(site: AdminSite) -> None:
    """D11: `GET /admin/config`, secrets redacted, headers and env too. Security K3, also for the tenant."""
    await site.configure(**FILE)

    response = await site.ask("GET", "/admin/config", token=site.admin)

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert SECRET not in response.text
    page = response.json()
    assert page["tenant"] == {"slug": "acme", "name": "Acme", "naming": {"prefix": "server", "separator": "__"}}
    assert [server["name"] for server in page["mcp_servers"]] == ["calc", "remote"]
    assert page["mcp_servers"][0]["env"] == {"KEY": REDACTED}
    assert page["mcp_servers"][1]["headers"] == {"Authorization": REDACTED}
    assert page["providers"] == [
        {
            "name": "local",
            "kind": "openai",
            "base_url": f"http://127.0.0.1:1/{REDACTED}",
            "api_key": REDACTED,
            "default_headers": {"X-Team": REDACTED},
            "timeout": 300.0,
            "origin": "operator",
            "revision": 1,
        },
        {
            "name": "open",
            "kind": "anthropic",
            "base_url": "https://api.anthropic.com/v1",
            "api_key": "",
            "default_headers": {},
            "timeout": 300.0,
            "origin": "operator",
            "revision": 1,
        },
    ]
    everything, helper = page["assistants"]
    assert (everything["name"], everything["mcp_servers"], everything["options"]["vision"]) == ("all", "*", True)
    assert (helper["provider"], helper["mcp_servers"], helper["temperature"]) == ("local", ["calc"], 0.5)
    assert helper["extra_body"] == {
        "api_key": REDACTED,
        "nested": [{"auth_token": [REDACTED], "seed": 7, "mode": "fast"}],
    }
    assert page["proxy_api_keys"] == [{"name": "team", "key": REDACTED}]
    assert page["apiman"]["secret"] == REDACTED
    assert page["apiman"]["gateway_url"] == f"https://apiman.example/{REDACTED}"


async def test_the_operator_sees_the_paths_that_it_wrote(site: AdminSite) -> None:
    """Arguments and paths are whoever's wrote them; keys are nobody's to read."""
    await site.configure(**FILE)
    page = (await site.ask("GET", "/admin/config")).json()
    assert page["mcp_servers"][0]["args"] == ["--token", SECRET]
    assert page["providers"][0]["base_url"] == f"http://127.0.0.1:1/{SECRET}/v1"
    assert (page["providers"][0]["api_key"], page["mcp_servers"][0]["env"]) == (REDACTED, {"KEY": REDACTED})
    assert page["apiman"]["probe_path"] == SECRET


async def test_a_tenant_with_nothing_has_a_page(site: AdminSite) -> None:
    """And sees nothing of another (security T1)."""
    await site.configure(**FILE)
    page = (await site.ask("GET", "/admin/config", tenant="rival")).json()
    assert page.pop("tenant")["slug"] == "rival"
    assert page == {"mcp_servers": [], "providers": [], "assistants": [], "proxy_api_keys": [], "apiman": None}
    own = await site.clients[0].get(
        "/admin/config", params={"tenant": "rival"}, headers={"Authorization": f"Bearer {site.admin}"}
    )
    assert own.json()["tenant"]["slug"] == "acme"


async def test_what_no_key_opens_any_more_is_marked(site: AdminSite) -> None:
    """A lost GATEWAY_SECRET_KEYS costs what it sealed, not the page."""
    await site.configure(**FILE)

    def seal_under_a_lost_key(session: Session) -> None:
        lost = Keyring(["another-key-for-tests-long-enough-0002"]).seal(b'"x"', context="any")
        session.execute(update(providers).values(sealed_api_key=lost))
        session.execute(update(key_probes).values(sealed_settings=lost))

    await site.database.run(seal_under_a_lost_key)
    page = (await site.ask("GET", "/admin/config", token=PLATFORM_KEY)).json()
    assert page["apiman"] == {"unreadable": True}
    assert [(each["name"], each["api_key"], each["unreadable"]) for each in page["providers"]] == [
        ("local", "", True),
        ("open", "", True),
    ]
