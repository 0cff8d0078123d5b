"""What clients and people are told while the database is out of reach (security O4)."""

import pytest

from gateway_proxy.domain.tenant import Tenant, User
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from tests.support.authorization_server import CALLBACK, build_worker
from tests.support.clock import FakeClock

NOWHERE = "postgresql+asyncpg://nobody@127.0.0.1:1/nothing"
FORM = {"client_id": "gwc_x", "grant_type": "refresh_token", "refresh_token": "gw_rt_x", "token": "x"}


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/register"])
async def test_machines_get_a_503_in_json_and_are_told_when_to_come_back(
    keyring: Keyring, clock: FakeClock, path: str
) -> None:
    """Never a 500, never invalid_client: clients throw their credentials away on that (mcp.md §6)."""
    database = Database(NOWHERE)
    server = build_worker(database, keyring, clock, tenant=Tenant("t", "t", "T"), user=User("u", "u@x.example", "U"))
    async with server.open_http() as http:
        if path == "/oauth/register":
            response = await http.post(path, json={"redirect_uris": [CALLBACK]})
        else:
            response = await http.post(path, data=FORM)
    assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
    assert response.headers["retry-after"]
    await database.close()


async def test_people_get_a_page(keyring: Keyring, clock: FakeClock) -> None:
    """Contract, Errors: browser pages answer with a page."""
    database = Database(NOWHERE)
    server = build_worker(database, keyring, clock, tenant=Tenant("t", "t", "T"), user=User("u", "u@x.example", "U"))
    async with server.open_http() as http:
        response = await http.get("/oauth/authorize?client_id=gwc_x")
    assert response.status_code == 503
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["retry-after"]
    await database.close()
