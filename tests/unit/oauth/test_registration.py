"""RFC 7591 registration: what is accepted, echoed, defaulted and refused."""

from typing import Any

import httpx2
import pytest

from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.clients import find_client
from gateway_proxy.storage.sql.database import Database
from tests.support.authorization_server import CALLBACK, AuthorizationServer, build_authorization_server
from tests.support.clock import FakeClock

MINIMAL = {"redirect_uris": [CALLBACK]}


async def register(http: httpx2.AsyncClient, **metadata: Any) -> httpx2.Response:
    """Register with the smallest metadata and what is added."""
    return await http.post("/oauth/register", json=MINIMAL | metadata)


async def test_a_public_client_gets_no_secret(http: httpx2.AsyncClient) -> None:
    """mcp.md §3 gap 2."""
    response = await register(http, token_endpoint_auth_method="none", client_name="Claude")
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    answer = response.json()
    assert "client_secret" not in answer
    assert answer["client_name"] == "Claude"
    assert answer["token_endpoint_auth_method"] == "none"
    assert answer["redirect_uris"] == [CALLBACK]


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
async def test_a_confidential_client_gets_its_secret_once(
    server: AuthorizationServer, http: httpx2.AsyncClient, method: str
) -> None:
    """RFC 7591 §3.2.1; only the digest is stored."""
    answer = (await register(http, token_endpoint_auth_method=method)).json()
    assert answer["client_secret"].startswith("gw_cs_")
    assert answer["client_secret_expires_at"] == 0
    stored = await server.database.read(find_client, client_id=answer["client_id"], now=server.clock.now())
    assert stored is not None
    assert stored.secret_digest is not None
    assert len(stored.secret_digest) == 32


async def test_defaults_are_echoed(server: AuthorizationServer, http: httpx2.AsyncClient) -> None:
    """RFC 7591 §2 and §3.2.1: client_secret_basic, authorization_code, code; the Python client reads the method."""
    answer = (await register(http)).json()
    assert answer["token_endpoint_auth_method"] == "client_secret_basic"
    assert "client_secret" in answer
    assert answer["grant_types"] == ["authorization_code", "refresh_token"]
    assert answer["response_types"] == ["code"]
    assert answer["application_type"] == "web"
    assert answer["client_name"] == "client.example"
    assert answer["client_id_issued_at"] == int(server.clock.now().timestamp())
    assert "scope" not in answer


async def test_unsupported_values_are_substituted_and_unknown_fields_ignored(http: httpx2.AsyncClient) -> None:
    """RFC 7591 §2: the server may substitute; security incidents 37 and 38: a fixed field set, nothing is fetched."""
    answer = (
        await register(
            http,
            grant_types=["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
            scope="mcp admin unheard-of offline_access",
            application_type="native",
            logo_uri="http://169.254.169.254/latest",
            jwks_uri="http://169.254.169.254/latest",
            is_admin=True,
            client_id="chosen",
            client_secret="chosen",
        )
    ).json()
    assert answer["grant_types"] == ["authorization_code", "refresh_token"]
    assert answer["scope"] == "mcp offline_access"
    assert answer["application_type"] == "native"
    assert answer["client_id"].startswith("gwc_")
    assert answer["client_secret"] != "chosen"
    assert not {"logo_uri", "jwks_uri", "is_admin"} & set(answer)


@pytest.mark.parametrize(
    ("metadata", "error", "named"),
    [
        ({"redirect_uris": None}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": []}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": "https://client.example/cb"}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": [CALLBACK, "http://evil.example/"]}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": [CALLBACK] * 11}, "invalid_redirect_uri", "redirect_uris"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata", "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": 1}, "invalid_client_metadata", "token_endpoint_auth_method"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata", "grant_types"),
        ({"grant_types": ["refresh_token"]}, "invalid_client_metadata", "grant_types"),
        ({"grant_types": "authorization_code"}, "invalid_client_metadata", "grant_types"),
        ({"grant_types": [1]}, "invalid_client_metadata", "grant_types"),
        ({"response_types": ["token"]}, "invalid_client_metadata", "response_types"),
        ({"application_type": "desktop"}, "invalid_client_metadata", "application_type"),
        ({"client_name": "x" * 101}, "invalid_client_metadata", "client_name"),
        ({"client_name": "a\nb"}, "invalid_client_metadata", "client_name"),
        ({"client_name": "safe\u202etxt.exe"}, "invalid_client_metadata", "client_name"),
        ({"client_name": "a\u0000b"}, "invalid_client_metadata", "client_name"),
        ({"client_name": "a" + "\u0336" * 5}, "invalid_client_metadata", "client_name"),
        ({"client_name": ["x"]}, "invalid_client_metadata", "client_name"),
        ({"client_uri": "javascript:alert(1)"}, "invalid_client_metadata", "client_uri"),
        ({"client_uri": "https://x/" + "y" * 2048}, "invalid_client_metadata", "client_uri"),
        ({"scope": ["mcp"]}, "invalid_client_metadata", "scope"),
    ],
)
async def test_a_wrong_field_is_named(
    http: httpx2.AsyncClient, metadata: dict[str, Any], error: str, named: str
) -> None:
    """RFC 7591 §3.2.2; contract, Errors: the message names the field and what was expected."""
    response = await register(http, **metadata)
    assert response.status_code == 400
    assert response.json()["error"] == error
    assert f"'{named}'" in response.json()["error_description"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"{", 400),
        (b'{"a": NaN}', 400),
        (b'{"client_name": "\xff"}', 400),
        (b'{"client_name": "\\ud800"}', 400),
        (b"[" * 60_000, 400),
        (b'{"x":"' + b"y" * 70_000 + b'"}', 413),
    ],
)
async def test_what_is_no_json_object_is_an_invalid_request(http: httpx2.AsyncClient, body: bytes, status: int) -> None:
    """Security AS9, AS13, D1."""
    response = await http.post("/oauth/register", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["error"]) == (status, "invalid_request")


async def test_a_form_is_no_registration(http: httpx2.AsyncClient) -> None:
    """clients.md 6: register takes JSON."""
    response = await http.post("/oauth/register", data={"redirect_uris": CALLBACK})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_registrations_of_one_address_are_limited_and_altogether_too(
    sqlite_url: str, keyring: Keyring, clock: FakeClock
) -> None:
    """Security AS9, L2: 429 with Retry-After."""
    database = Database(sqlite_url)
    server = await build_authorization_server(database, keyring, clock, register_limit=2, register_limit_of_all=3)
    async with server.open_http() as http, server.open_http(address="198.51.100.9") as other:
        assert [(await register(http)).status_code for _ in range(3)] == [201, 201, 429]
        assert [(await register(other)).status_code for _ in range(2)] == [201, 429]
        limited = await register(http)
        assert int(limited.headers["retry-after"]) >= 1
        clock.advance(61)
        assert (await register(http)).status_code == 201
    await database.close()


async def test_the_addresses_of_one_ipv6_network_count_as_one(
    sqlite_url: str, keyring: Keyring, clock: FakeClock
) -> None:
    """Security L2: a subscriber has 2^64 of them, and must not use up what all may register together."""
    database = Database(sqlite_url)
    server = await build_authorization_server(database, keyring, clock, register_limit=2)
    statuses = []
    for address in ("2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3", "2001:db8:0:2::1"):
        async with server.open_http(address=address) as http:
            statuses.append((await register(http)).status_code)
    assert statuses == [201, 201, 429, 201]
    await database.close()


@pytest.mark.parametrize("blank", ["", "  ", "\u00a0", "\u3164\u3164", "\u2800", "\u115f \uffa0"])
async def test_a_name_that_looks_like_nothing_is_no_name(http: httpx2.AsyncClient, blank: str) -> None:
    """Security AS9: letters without ink would leave the question on the consent page without a subject."""
    assert (await register(http, client_name=blank)).json()["client_name"] == "client.example"


async def test_room_in_a_name_is_one_blank_and_marks_of_real_scripts_stay(http: httpx2.AsyncClient) -> None:
    """Security AS9: a name may not push the words around it away; nor be refused for its language."""
    answer = (await register(http, client_name="Mail\u00a0\u2003\u3164 by Nguy\u1ec5\u0302\u0303n नमस्ते ☺\ufe0f")).json()
    assert answer["client_name"] == "Mail by Nguy\u1ec5\u0302\u0303n नमस्ते ☺\ufe0f"
