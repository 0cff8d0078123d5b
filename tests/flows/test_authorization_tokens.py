"""Redeeming, refreshing, revoking and introspecting, and everything that must be refused; on both databases."""

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from gateway_proxy.domain.errors import TokenInvalid
from gateway_proxy.domain.tenant import Role
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql import tables
from gateway_proxy.storage.sql.clients import remove_client
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.users import update_user
from tests.support.authorization_server import PASSWORD, AuthorizationServer, OAuthClient, build_authorization_server
from tests.support.clock import FakeClock
from tests.support.people import PUBLIC_URL


@pytest.fixture
async def server(database: Database, keyring: Keyring, clock: FakeClock) -> AuthorizationServer:
    """An authorization server with one user."""
    return await build_authorization_server(database, keyring, clock)


@pytest.fixture
async def http(server: AuthorizationServer) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser and a client in one."""
    async with server.open_http() as http:
        yield http


@pytest.fixture
async def client(server: AuthorizationServer, http: httpx2.AsyncClient) -> OAuthClient:
    """A registered public client."""
    client = OAuthClient(server, http)
    await client.register()
    return client


def basic(client_id: str, secret: str | None) -> dict[str, str]:
    """An HTTP Basic header."""
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


async def is_alive(server: AuthorizationServer, access_token: str) -> bool:
    """Whether an access token opens anything, asked of the database and not of a cache."""
    server.verifier.forget_all()
    try:
        await server.verifier.verify(access_token)
    except TokenInvalid:
        return False
    return True


def refused(response: httpx2.Response) -> tuple[int, str]:
    """Status and code of a refusal, which must be RFC 6749 §5.2 JSON."""
    body = response.json()
    assert set(body) == {"error", "error_description"}
    assert response.headers["cache-control"] == "no-store"
    return response.status_code, body["error"]


# --- redeeming ----------------------------------------------------------------------------------------------------
async def test_second_redemption_of_a_code_revokes_the_token_family(
    server: AuthorizationServer, client: OAuthClient
) -> None:
    """RFC 6749 §4.1.2, security AS5: access and refresh tokens die, and stay dead."""
    code = await client.get_code()
    tokens = (await client.redeem(code)).json()
    assert await is_alive(server, tokens["access_token"])

    assert refused(await client.redeem(code)) == (400, "invalid_grant")

    assert not await is_alive(server, tokens["access_token"])
    assert refused(await client.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    assert server.audit.named("code.reused")
    assert server.revocations


async def test_of_fifty_parallel_redemptions_one_wins_and_the_losers_revoke_its_family(
    server: AuthorizationServer, client: OAuthClient
) -> None:
    """Issue 2, done when; security AS5, F14."""
    code = await client.get_code()
    responses = await asyncio.gather(*(client.redeem(code) for _ in range(50)))
    assert Counter(response.status_code for response in responses) == {200: 1, 400: 49}
    winner = next(response.json() for response in responses if response.status_code == 200)
    assert not await is_alive(server, winner["access_token"])
    assert refused(await client.refresh(winner["refresh_token"])) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_request"),
        ({"code_verifier": None}, "invalid_request"),
        ({"redirect_uri": "https://client.example/other"}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"code": "gw_ac_unknown"}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"resource": f"{PUBLIC_URL}/v1"}, "invalid_target"),
        ({"resource": "https://evil.example/mcp"}, "invalid_target"),
    ],
)
async def test_a_wrong_redemption_is_refused_and_does_not_spend_the_code(
    client: OAuthClient, changed: dict[str, str | None], expected: str
) -> None:
    """Security AS5, incident 47: everything is checked before the code is taken."""
    code = await client.get_code()
    response = await client.redeem(changed.get("code", code), **{k: v for k, v in changed.items() if k != "code"})
    assert refused(response) == (400, expected)
    assert (await client.redeem(code)).status_code == 200


async def test_the_right_resource_is_accepted_with_and_without_a_slash(client: OAuthClient) -> None:
    """RFC 8707 §2.2; MCP 2026-07-28, Canonical Server URI: the scheme and host in upper case, too."""
    scheme, _, host = PUBLIC_URL.partition("://")
    for resource in (f"{PUBLIC_URL}/mcp", f"{PUBLIC_URL}/mcp/", f"{scheme.upper()}://{host.upper()}/mcp"):
        assert (await client.redeem(await client.get_code(), resource=resource)).status_code == 200


async def test_a_code_lives_sixty_seconds(server: AuthorizationServer, client: OAuthClient) -> None:
    """Security AS4; the refusal is that of an unknown code."""
    code = await client.get_code()
    server.clock.advance(60)
    late, unknown = await client.redeem(code), await client.redeem("gw_ac_unknown")
    assert refused(late) == (400, "invalid_grant")
    assert late.json() == unknown.json()


async def test_another_client_cannot_redeem_a_code(server: AuthorizationServer, client: OAuthClient) -> None:
    """RFC 6749 §4.1.3: the code is bound to the client; the refusal is that of an unknown code."""
    code = await client.get_code()
    other = OAuthClient(server, client.http, verifier=client.verifier)
    await other.register()
    foreign, unknown = await other.redeem(code), await other.redeem("gw_ac_unknown")
    assert refused(foreign) == (400, "invalid_grant")
    assert foreign.json() == unknown.json()
    assert (await client.redeem(code)).status_code == 200


async def test_another_client_cannot_use_a_refresh_token(server: AuthorizationServer, client: OAuthClient) -> None:
    """RFC 6749 §6: the token is bound to the client; the refusal is that of an unknown token and spends nothing."""
    tokens = await client.connect()
    other = OAuthClient(server, client.http)
    await other.register()
    foreign, unknown = await other.refresh(tokens["refresh_token"]), await other.refresh("gw_rt_unknown")
    assert refused(foreign) == (400, "invalid_grant")
    assert foreign.json() == unknown.json()
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def test_the_audience_and_scope_follow_the_resource(server: AuthorizationServer, client: OAuthClient) -> None:
    """Contract: the default scope is that of the resource; absent means /mcp."""
    cases = {f"{PUBLIC_URL}/v1": "openai", f"{PUBLIC_URL}/v1/": "openai", PUBLIC_URL: "mcp", None: "mcp"}
    for resource, scope in cases.items():
        tokens = (await client.redeem(await client.get_code(resource=resource, scope=None))).json()
        assert tokens["scope"] == scope
        audience = (await server.verifier.verify(tokens["access_token"])).principal.audience
        assert audience == (resource or f"{PUBLIC_URL}/mcp").removesuffix("/")


# --- refreshing ---------------------------------------------------------------------------------------------------
async def test_a_refresh_rotates_and_the_successor_goes_on(server: AuthorizationServer, client: OAuthClient) -> None:
    """RFC 6749 §6, OAuth 2.1 §4.3.1."""
    first = await client.connect(scope="mcp offline_access")
    second = (await client.refresh(first["refresh_token"])).json()
    third = (await client.refresh(second["refresh_token"])).json()
    assert len({first["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert third["scope"] == "mcp offline_access"
    for tokens in (first, second, third):
        assert await is_alive(server, tokens["access_token"])


@pytest.mark.usefixtures("patient_databases")
async def test_fifty_parallel_refreshes_all_carry_one_successor(
    server: AuthorizationServer, client: OAuthClient
) -> None:
    """Issue 2, done when; security AS6, F14."""
    first = await client.connect()
    responses = await asyncio.gather(*(client.refresh(first["refresh_token"]) for _ in range(50)))
    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["refresh_token"] for response in responses}) == 1
    assert len({response.json()["access_token"] for response in responses}) == 1
    successor = responses[0].json()
    assert await is_alive(server, successor["access_token"])
    assert (await client.refresh(successor["refresh_token"])).status_code == 200


async def test_a_repeat_within_the_grace_window_recomputes_expires_in(
    server: AuthorizationServer, client: OAuthClient
) -> None:
    """Contract, refresh grace: the same tokens, with what is left of their life."""
    first = await client.connect()
    second = (await client.refresh(first["refresh_token"])).json()
    server.clock.advance(29)
    repeat = (await client.refresh(first["refresh_token"])).json()
    assert repeat == second | {"expires_in": 3600 - 29}


@pytest.mark.parametrize("seconds", [-300, -30, 30 - 1])
async def test_a_clock_that_is_put_right_promises_no_longer_life_and_forgets_no_reuse(
    server: AuthorizationServer, client: OAuthClient, seconds: int
) -> None:
    """security.md F10: a step of the clock, or two replicas half a minute apart; reuse is counted, not timed."""
    first = await client.connect()
    second = (await client.refresh(first["refresh_token"])).json()
    server.clock.step(seconds)
    repeat = (await client.refresh(first["refresh_token"])).json()
    assert repeat["refresh_token"] == second["refresh_token"]
    assert 0 < repeat["expires_in"] <= 3600
    third = (await client.refresh(second["refresh_token"])).json()
    assert refused(await client.refresh(first["refresh_token"])) == (400, "invalid_grant")
    assert not await is_alive(server, third["access_token"])


async def test_a_spent_refresh_token_after_the_grace_window_ends_the_family(
    server: AuthorizationServer, client: OAuthClient
) -> None:
    """Issue 2, done when: replaying after the window kills the family, and the access tokens with it."""
    first = await client.connect()
    second = (await client.refresh(first["refresh_token"])).json()
    server.clock.advance(31)
    assert refused(await client.refresh(first["refresh_token"])) == (400, "invalid_grant")
    assert not await is_alive(server, first["access_token"])
    assert not await is_alive(server, second["access_token"])
    assert refused(await client.refresh(second["refresh_token"])) == (400, "invalid_grant")
    assert server.audit.named("refresh_token.reused")


async def test_once_the_successor_is_used_the_grace_is_over(server: AuthorizationServer, client: OAuthClient) -> None:
    """Contract, refresh grace: erased once the successor is used; any later use is reuse."""
    first = await client.connect()
    second = (await client.refresh(first["refresh_token"])).json()
    third = (await client.refresh(second["refresh_token"])).json()
    assert refused(await client.refresh(first["refresh_token"])) == (400, "invalid_grant")
    assert not await is_alive(server, third["access_token"])


async def test_without_grace_any_second_use_is_reuse(database: Database, keyring: Keyring, clock: FakeClock) -> None:
    """GATEWAY_REFRESH_GRACE=0 turns the window off; not even the same instant is in it."""
    server = await build_authorization_server(database, keyring, clock, refresh_grace=0)
    async with server.open_http() as http:
        client = OAuthClient(server, http)
        first = await client.connect()
        assert (await client.refresh(first["refresh_token"])).status_code == 200
        assert refused(await client.refresh(first["refresh_token"])) == (400, "invalid_grant")


async def test_a_refresh_may_narrow_the_scope_but_never_widen_it(
    server: AuthorizationServer, client: OAuthClient
) -> None:
    """RFC 6749 §6: narrowed for this access token, while the refresh token keeps the whole."""
    first = await client.connect(scope="mcp openai")
    narrow = (await client.refresh(first["refresh_token"], scope="openai unheard-of")).json()
    assert narrow["scope"] == "openai"
    whole = (await client.refresh(narrow["refresh_token"], scope="mcp openai offline_access")).json()
    assert whole["scope"] == "mcp openai"
    other = await OAuthClient(server, client.http).connect(scope="mcp")
    asked = await client.refresh(other["refresh_token"], scope="mcp openai")
    assert asked.json()["error"] == "invalid_grant"  # another client's


async def test_a_wider_scope_at_refresh_is_refused_and_spends_nothing(client: OAuthClient) -> None:
    """Security AS7: scopes never grow."""
    tokens = await client.connect(scope="mcp")
    assert refused(await client.refresh(tokens["refresh_token"], scope="mcp openai")) == (400, "invalid_scope")
    wrong = await client.refresh(tokens["refresh_token"], resource=f"{PUBLIC_URL}/v1")
    assert refused(wrong) == (400, "invalid_target")
    assert (await client.refresh(tokens["refresh_token"], resource=f"{PUBLIC_URL}/mcp")).status_code == 200


async def test_a_refresh_token_expires(server: AuthorizationServer, client: OAuthClient) -> None:
    """GATEWAY_REFRESH_TTL; each rotation starts it anew."""
    first = await client.connect()
    server.clock.advance(29 * 86400)
    second = (await client.refresh(first["refresh_token"])).json()
    server.clock.advance(29 * 86400)
    third = (await client.refresh(second["refresh_token"])).json()
    server.clock.advance(30 * 86400)
    assert refused(await client.refresh(third["refresh_token"])) == (400, "invalid_grant")


async def test_a_disabled_user_cannot_refresh(server: AuthorizationServer, client: OAuthClient) -> None:
    """Security T6 and incident 38: disabled stays disabled."""
    tokens = await client.connect()
    disabled = type(server.user)(server.user.id, server.user.email, server.user.name, server.clock.now())
    await server.database.run(update_user, user=disabled)
    assert refused(await client.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


async def test_parallel_refresh_and_revocation_leave_nothing_alive(
    server: AuthorizationServer, client: OAuthClient
) -> None:
    """Security incident 33, F14: revocation takes the same lock."""
    tokens = await client.connect()
    revoke = client.http.post("/oauth/revoke", data={"client_id": client.client_id, "token": tokens["refresh_token"]})
    refreshes = [client.refresh(tokens["refresh_token"]) for _ in range(10)]
    *refreshed, revoked = await asyncio.gather(*refreshes, revoke)
    assert revoked.status_code == 200
    for response in refreshed:
        assert response.status_code in (200, 400)
        if response.status_code == 200:
            assert not await is_alive(server, response.json()["access_token"])
            assert refused(await client.refresh(response.json()["refresh_token"])) == (400, "invalid_grant")


# --- client authentication ----------------------------------------------------------------------------------------
async def test_basic_works_without_client_id_in_the_body(server: AuthorizationServer, client: OAuthClient) -> None:
    """Security AS11, RFC 6749 §2.3.1."""
    answer = await client.register(token_endpoint_auth_method="client_secret_basic")
    headers = basic(answer["client_id"], answer["client_secret"])
    response = await client.redeem(await client.get_code(), client_id=None, headers=headers)
    assert response.status_code == 200


async def test_post_works_for_a_client_registered_for_post(client: OAuthClient) -> None:
    """RFC 6749 §2.3.1, the alternative."""
    answer = await client.register(token_endpoint_auth_method="client_secret_post")
    response = await client.redeem(await client.get_code(), client_secret=answer["client_secret"])
    assert response.status_code == 200


@pytest.mark.parametrize("method", ["none", "client_secret_post", "client_secret_basic"])
async def test_a_client_must_authenticate_exactly_as_registered(client: OAuthClient, method: str) -> None:
    """Security AS11: the wrong method, a wrong secret or no secret is invalid_client, 401, with a Basic challenge."""
    answer = await client.register(token_endpoint_auth_method=method)
    secret = answer.get("client_secret", "gw_cs_guess")
    code = await client.get_code()
    ways: dict[str, dict[str, Any]] = {
        "none": {},
        "client_secret_post": {"client_secret": secret},
        "client_secret_basic": {"client_id": None, "headers": basic(client.client_id, secret)},
    }
    wrong = [way for name, way in ways.items() if name != method]
    wrong += [{"client_secret": "wrong"}, {"client_id": None, "headers": basic(client.client_id, "wrong")}]
    for way in wrong:
        response = await client.redeem(code, **way)
        assert refused(response) == (401, "invalid_client")
        assert response.headers["www-authenticate"].startswith("Basic ")
    assert (await client.redeem(code, **ways[method])).status_code == 200


async def test_two_ways_of_authentication_at_once_are_refused(client: OAuthClient) -> None:
    """RFC 6749 §2.3: a client must not use more than one."""
    answer = await client.register(token_endpoint_auth_method="client_secret_basic")
    secret = answer["client_secret"]
    response = await client.refresh("gw_rt_x", client_secret=secret, headers=basic(client.client_id, secret))
    assert refused(response) == (400, "invalid_request")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff:x").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"no-colon").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"a%00b:x").decode()},
        {"Authorization": "Bearer gw_at_x"},
        {"Authorization": "Basic " + "A" * 5000},
        {},
    ],
)
async def test_unreadable_client_authentication_is_invalid_client(client: OAuthClient, headers: dict[str, str]) -> None:
    """RFC 6749 §5.2; no client authentication at all included."""
    response = await client.refresh("gw_rt_x", client_id=None, headers=headers)
    assert refused(response) == (401, "invalid_client")


async def test_a_deleted_client_is_invalid_client(server: AuthorizationServer, client: OAuthClient) -> None:
    """clients.md 6: Claude registers again when it is told so."""
    tokens = await client.connect()
    await server.database.run(remove_client, client_id=client.client_id)
    assert refused(await client.refresh(tokens["refresh_token"])) == (401, "invalid_client")


async def test_a_client_without_the_refresh_grant_gets_no_refresh_token(client: OAuthClient) -> None:
    """RFC 7591 §2: grant types are what was registered."""
    await client.register(grant_types=["authorization_code"])
    tokens = await client.connect(scope="mcp offline_access")
    assert "refresh_token" not in tokens
    assert refused(await client.refresh("gw_rt_x")) == (400, "unauthorized_client")


# --- revocation and introspection ---------------------------------------------------------------------------------
async def test_revoking_a_refresh_token_ends_its_family(server: AuthorizationServer, client: OAuthClient) -> None:
    """RFC 7009 §2.1, security AS12; works for public clients."""
    tokens = await client.connect()
    data = {"client_id": client.client_id, "token": tokens["refresh_token"]}
    assert (await client.http.post("/oauth/revoke", data=data)).status_code == 200
    assert not await is_alive(server, tokens["access_token"])
    assert refused(await client.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


async def test_revoking_an_access_token_leaves_the_family(server: AuthorizationServer, client: OAuthClient) -> None:
    """RFC 7009 §2.1; a wrong hint does not matter."""
    tokens = await client.connect()
    data = {"client_id": client.client_id, "token": tokens["access_token"], "token_type_hint": "refresh_token"}
    assert (await client.http.post("/oauth/revoke", data=data)).status_code == 200
    assert not await is_alive(server, tokens["access_token"])
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def test_revoking_an_unknown_or_foreign_token_is_a_200_without_effect(
    server: AuthorizationServer, client: OAuthClient
) -> None:
    """RFC 7009 §2.2: and the two look the same."""
    tokens = await client.connect()
    other = OAuthClient(server, client.http)
    await other.register()
    for token in ("nonsense", tokens["refresh_token"], tokens["access_token"]):
        response = await client.http.post("/oauth/revoke", data={"client_id": other.client_id, "token": token})
        assert response.status_code == 200
    assert await is_alive(server, tokens["access_token"])
    missing = await client.http.post("/oauth/revoke", data={"client_id": other.client_id})
    assert refused(missing) == (400, "invalid_request")
    assert refused(await client.http.post("/oauth/revoke", data={"token": "x"})) == (401, "invalid_client")


async def test_introspection_tells_a_confidential_client_about_its_own_tokens(
    server: AuthorizationServer, client: OAuthClient
) -> None:
    """RFC 7662 §2.2, security AS12."""
    answer = await client.register(token_endpoint_auth_method="client_secret_basic")
    headers = basic(client.client_id, client.client_secret)
    code = await client.get_code()
    tokens = (await client.redeem(code, client_id=None, headers=headers)).json()

    async def introspect(token: str) -> dict[str, Any]:
        response = await client.http.post("/oauth/introspect", data={"token": token}, headers=headers)
        assert response.status_code == 200
        body: dict[str, Any] = response.json()
        return body

    access = await introspect(tokens["access_token"])
    now = int(server.clock.now().timestamp())
    assert access == {
        "active": True,
        "iss": PUBLIC_URL,
        "client_id": answer["client_id"],
        "sub": server.user.id,
        "aud": f"{PUBLIC_URL}/mcp",
        "scope": "mcp",
        "iat": now,
        "exp": now + 3600,
        "token_type": "Bearer",
    }
    assert (await introspect(tokens["refresh_token"]))["active"] is True
    foreign = await OAuthClient(server, client.http).connect()
    for token in ("nonsense", foreign["access_token"], foreign["refresh_token"], code):
        assert await introspect(token) == {"active": False}
    server.clock.advance(3600)
    assert await introspect(tokens["access_token"]) == {"active": False}


async def test_introspection_needs_a_secret(client: OAuthClient) -> None:
    """RFC 7662 §2.1: a client id alone is no authentication."""
    tokens = await client.connect()
    for data in ({"token": tokens["access_token"], "client_id": client.client_id}, {"token": "x"}):
        assert refused(await client.http.post("/oauth/introspect", data=data)) == (401, "invalid_client")


# --- at rest ------------------------------------------------------------------------------------------------------
async def test_a_database_dump_holds_no_secret(server: AuthorizationServer, client: OAuthClient) -> None:
    """Issue 2, done when: no plaintext token, code, password or credential; the sealed copy included."""
    answer = await client.register(token_endpoint_auth_method="client_secret_post")
    code, unused = await client.get_code(), await client.get_code()
    tokens = (await client.redeem(code, client_secret=answer["client_secret"])).json()
    rotated = (await client.refresh(tokens["refresh_token"], client_secret=answer["client_secret"])).json()
    secrets = [code, unused, answer["client_secret"], PASSWORD]
    secrets += [response[kind] for response in (tokens, rotated) for kind in ("access_token", "refresh_token")]

    def dump(session: Session) -> bytes:
        names = [table.name for table in tables.metadata.sorted_tables]
        rows = [session.execute(text(f"SELECT * FROM {name}")).all() for name in names]
        return b"\n".join(
            bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
            for table in rows
            for row in table
            for value in row
        )

    dumped = await server.database.read(dump)
    assert answer["client_id"].encode() in dumped
    for secret in secrets:
        assert secret.encode() not in dumped


async def test_sealed_copies_are_erased_when_the_family_ends(server: AuthorizationServer, client: OAuthClient) -> None:
    """Contract, refresh grace: erased on revocation and once the successor is used."""
    first = await client.connect()
    second = (await client.refresh(first["refresh_token"])).json()
    assert await _sealed_copies(server) == 1
    third = (await client.refresh(second["refresh_token"])).json()
    assert await _sealed_copies(server) == 1
    await client.http.post("/oauth/revoke", data={"client_id": client.client_id, "token": third["refresh_token"]})
    assert await _sealed_copies(server) == 0


async def test_a_demoted_user_keeps_only_what_the_role_allows(server: AuthorizationServer, client: OAuthClient) -> None:
    """Contract: effective scopes = granted ∩ what the membership allows now; members still have mcp and openai."""
    await server.people.join(server.user, server.tenant, Role.OWNER)
    tokens = await client.connect(scope="mcp openai")
    await server.people.join(server.user, server.tenant, Role.MEMBER)
    assert (await client.refresh(tokens["refresh_token"])).json()["scope"] == "mcp openai"


async def test_refused_token_requests_of_one_address_are_limited(
    database: Database, keyring: Keyring, clock: FakeClock
) -> None:
    """Security L2: with Retry-After; other addresses and good requests are not touched."""
    server = await build_authorization_server(database, keyring, clock, token_failure_limit=3)
    async with server.open_http() as http, server.open_http(address="198.51.100.9") as elsewhere:
        client = OAuthClient(server, http)
        tokens = await client.connect()
        for _ in range(3):
            assert refused(await client.refresh("gw_rt_wrong")) == (400, "invalid_grant")
        limited = await client.refresh("gw_rt_wrong")
        assert refused(limited) == (429, "temporarily_unavailable")
        assert int(limited.headers["retry-after"]) >= 1
        other = OAuthClient(server, elsewhere, client_id=client.client_id)
        assert refused(await other.refresh("gw_rt_wrong")) == (400, "invalid_grant")
        assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def _sealed_copies(server: AuthorizationServer) -> int:
    def count(session: Session) -> int:
        column = tables.refresh_tokens.c.sealed_response
        return len(session.execute(select(column).where(column.is_not(None))).all())

    return await server.database.read(count)
