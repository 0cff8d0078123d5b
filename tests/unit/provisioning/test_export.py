"""Export is the inverse of apply."""

from pathlib import Path
from typing import Any

from gateway_proxy.provisioning.config_file import read_document
from gateway_proxy.provisioning.current_state import list_current_tenants, list_current_users
from gateway_proxy.provisioning.document import parse_yaml
from gateway_proxy.provisioning.export import Export, export_state
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import FakeClock
from tests.unit.provisioning.test_apply import ACME, Place

RICH: dict[str, Any] = {
    "tenants": {
        "acme": {
            "name": "Acme $${not a variable}",
            "naming": {"separator": "."},
            "mcpServers": {
                "calc": {
                    "command": "python",
                    "args": ["$${HOME}", "yes", "7"],
                    "env": {"A_B": "s3cret"},
                    "start_timeout": 90,
                },
                "old": {"transport": "sse", "url": "https://x/sse", "headers": {"X-Key": "s3cret", "X_Key": "s3cret"}},
                "auto": {"url": "https://x/mcp", "isolation": "session", "timeout": 12.5, "enabled": False},
                "shop": {"transport": "openapi", "url": "https://x/openapi.json", "base_url": "https://api.x/v1"},
            },
            "providers": {
                "claude": {"kind": "anthropic", "api_key": "s3cret", "timeout": 9, "default_headers": {"B": "s3cret"}},
                "open": {},
            },
            "apiman": {"mode": "trusted_header", "header": "X-Gw", "secret": "s3cret-that-is-long", "timeout": 2},
            "assistants": [
                {
                    "name": "all",
                    "provider": "open",
                    "model": "m:1",
                    "mcp_servers": "*",
                    "system_prompt": "Say $${NAME}\nand 2026-11-21",
                    "temperature": 0,
                    "extra_body": {"stop": ["$${x}"], "deep": {"n": 1}},
                },
                {"name": "some", "provider": "claude", "model": "m", "mcp_servers": ["calc"], "max_tokens": 5,
                 "options": {"progress": "openwebui", "vision": True, "task_model": "small"}},
            ],
        },
        "empty": {},
    },
    "users": [{"email": "ann@x.example", "name": "Ann", "tenants": {"acme": "owner", "empty": "member"}}],
}  # fmt: skip


async def export_of(database: Database, keyring: Keyring) -> Export:
    tenants = await database.read(list_current_tenants, keyring=keyring)
    return export_state(tenants, await database.read(list_current_users))


async def test_an_export_applies_to_no_changes(database: Database, keyring: Keyring, clock: FakeClock) -> None:
    """Contract: export; plan of provisioning: it round-trips."""
    place = Place(database, keyring, clock)
    await place.apply(RICH)

    exported = await export_of(database, keyring)
    again = read_document(parse_yaml(exported.as_yaml()), exported.variables, folder=Path("/"))

    assert [str(change) for change in (await place.apply(again)).changes] == []


async def test_an_export_says_what_is_not_the_default(database: Database, keyring: Keyring, clock: FakeClock) -> None:
    """Contract: export."""
    await Place(database, keyring, clock).apply(RICH)
    exported = await export_of(database, keyring)

    document = parse_yaml(exported.as_yaml())

    assert document["tenants"]["acme"]["assistants"][0]["mcp_servers"] == "*"
    assert document["tenants"]["acme"]["naming"] == {"prefix": "server", "separator": "."}
    assert document["tenants"]["acme"]["mcpServers"]["auto"] == {
        "url": "https://x/mcp",
        "isolation": "session",
        "timeout": 12.5,
        "enabled": False,
    }
    assert document["tenants"]["acme"]["mcpServers"]["calc"]["start_timeout"] == 90
    assert document["tenants"]["empty"]["name"] == "Empty"


async def test_secrets_stand_in_an_export_only_as_variables(
    database: Database, keyring: Keyring, clock: FakeClock
) -> None:
    """Plan of provisioning: secrets as `${…}` placeholders, each with a name of its own, named at the top."""
    await Place(database, keyring, clock).apply(RICH)

    exported = await export_of(database, keyring)
    text = exported.as_yaml()

    assert "s3cret" not in text
    assert "s3cret" not in repr(exported)
    assert set(exported.variables) == {
        "ACME_APIMAN_SECRET",
        "ACME_CALC_ENV_A_B",
        "ACME_OLD_HEADERS_X_KEY",
        "ACME_OLD_HEADERS_X_KEY_2",
        "ACME_CLAUDE_API_KEY",
        "ACME_CLAUDE_HEADERS_B",
    }
    assert text.startswith("# Set these before applying:\n#   ACME_")


async def test_a_tenant_s_own_rows_are_not_exported(database: Database, keyring: Keyring, clock: FakeClock) -> None:
    """Applying the export would make them the operator's."""
    place = Place(database, keyring, clock)
    await place.apply(ACME)
    await place.add_own_backend((await place.tenant()).tenant.id, "mine")

    exported = await export_of(database, keyring)

    assert set(exported.document["tenants"]["acme"]["mcpServers"]) == {"calc", "remote"}
