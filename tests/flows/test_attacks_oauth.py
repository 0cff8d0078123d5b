"""Attacks on the authorization server and the pages for people, at two workers with PostgreSQL and Redis."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlencode

import asyncpg
import httpx2
import pytest
import pytest_asyncio
import redis.asyncio

from tests.support.databases import MigratedPostgres
from tests.support.form_filling import SAME_ORIGIN, form_of, sign_in, submit
from tests.support.oauth_client import REDIRECT, OAuthClient
from tests.support.postgres import driver_url
from tests.support.raw_http import FORM, RawReply, request
from tests.support.topology import Topology, running_topology
from tests.support.visitor import Form, Visitor, read_forms

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
HOSTILE = {
    "oversized": "A" * 200_000,
    "long": "A" * 9_000,
    "nul": "a%00b",
    "bad-utf-8": "%ff%fe",
    "overlong": "%c0%af",
    "surrogate": "%ed%a0%80",
    "crlf": "x%0d%0aSet-Cookie:%20a=b",
    "compatibility-forms": quote("\uff4d\uff43\uff50\uff0f\uff11"),
    "bidi": quote("\u202emcp"),
    "empty": "",
    "broken-escape": "%zz%",
    "markup": quote('"><script>alert(1)</script>'),
    "raw-bytes": "\xff\xfe",
}
_addresses = itertools.count(2)


def elsewhere() -> str:
    """An address of its own for each request, so that no rate limit answers in place of what is tested."""
    number = next(_addresses)
    return f"127.7.{number // 250}.{number % 250 + 1}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database_of_module(migrated_postgres: MigratedPostgres) -> AsyncIterator[str]:
    with migrated_postgres.lend() as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def topology(database_of_module: str, redis_server: str) -> AsyncIterator[Topology]:
    async with running_topology(
        database_url=database_of_module, redis_url=redis_server, gateways=1, workers=2
    ) as running:
        yield running


@pytest.fixture
def origin(topology: Topology) -> str:
    return topology.gateways[0].url


@pytest_asyncio.fixture(loop_scope="module")
async def http(origin: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Ann's browser, signed in; her client uses the same connections."""
    async with httpx2.AsyncClient(base_url=origin, timeout=30) as http:
        assert (await sign_in(http, password="correct horse battery")).status_code == 303
        yield http


@pytest_asyncio.fixture(loop_scope="module")
async def client(http: httpx2.AsyncClient, origin: str) -> OAuthClient:
    client = OAuthClient(http, origin)
    await client.register()
    return client


def _visitor(http: httpx2.AsyncClient, origin: str) -> Visitor:
    return Visitor(http, "ann@example.com", "correct horse battery", origin)


def _query(client: OAuthClient, **changed: str) -> dict[str, str]:
    return {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": REDIRECT,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "s-1",
        **changed,
    }


async def _consent(http: httpx2.AsyncClient, client: OAuthClient, **changed: str) -> Form:
    page = await http.get("/oauth/authorize?" + urlencode(_query(client, prompt="consent", **changed)))
    return next(form for form in read_forms(page.text) if "transaction" in form.fields)


async def test_no_value_of_any_authorization_parameter_is_more_than_a_refusal(
    origin: str, http: httpx2.AsyncClient, client: OAuthClient
) -> None:
    """Security AS13, AS2: signed in or not, once or twice; a page or a redirect, no fault and no foreign header."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in http.cookies.jar)
    names = [*_query(client), "scope", "resource", "prompt", "request", "request_uri", "response_mode", "other"]
    for name, (kind, value), twice in itertools.product(names, HOSTILE.items(), (False, True)):
        fields = urlencode({key: text for key, text in _query(client).items() if key != name})
        target = f"/oauth/authorize?{fields}&{name}={value}" + (f"&{name}=x" if twice else "")
        reply = await request(origin, "GET", target, headers=[("Cookie", cookies)], address=elsewhere())
        assert reply.status in (200, 303, 400, 431), (name, kind, twice, reply)
        assert reply.header("set-cookie") is None or "gw_" in str(reply.header("set-cookie")), (name, kind)
        assert b"<script>alert" not in reply.body, (name, kind)
        if reply.status == 303:
            assert str(reply.header("location")).startswith(REDIRECT + "?"), (name, kind)


async def test_no_value_of_any_token_parameter_is_more_than_an_rfc_6749_error(origin: str, client: OAuthClient) -> None:
    """Security AS13: JSON for every input, at the token endpoint, revocation and introspection."""
    bases: dict[str, dict[str, str]] = {
        "/oauth/token": {
            "grant_type": "authorization_code",
            "code": "gw_ac_x",
            "code_verifier": "v" * 43,
            "client_id": client.client_id,
            "redirect_uri": REDIRECT,
        },
        "/token": {"grant_type": "refresh_token", "refresh_token": "gw_rt_x", "client_id": client.client_id},
        "/oauth/revoke": {"token": "gw_rt_x", "token_type_hint": "refresh_token", "client_id": client.client_id},
        "/oauth/introspect": {"token": "gw_rt_x", "client_id": client.client_id, "client_secret": "gw_cs_x"},
    }
    for path, base in bases.items():
        for name, (kind, value) in itertools.product([*base, "scope", "resource", "client_secret"], HOSTILE.items()):
            fields = urlencode({key: text for key, text in base.items() if key != name})
            body = f"{fields}&{name}={value}".encode("latin-1")
            reply = await request(origin, "POST", path, headers=[FORM], body=body, address=elsewhere())
            is_revoked = path == "/oauth/revoke" and reply.status == 200
            assert is_revoked or _is_error(reply), (path, name, kind, reply)


def _is_error(reply: RawReply) -> bool:
    is_json = (reply.header("content-type") or "").startswith("application/json")
    return reply.status in (400, 401, 413) and is_json and b'"error":"' in reply.body


async def test_redirect_uris_are_strings_and_nothing_is_read_into_them(origin: str, http: httpx2.AsyncClient) -> None:
    """Incidents 31 and 36: every near miss is a page."""
    registered = ["https://client.example/cb", "http://127.0.0.1/cb"]
    answer = await http.post("/oauth/register", json={"redirect_uris": registered, "client_name": "x"})
    client = OAuthClient(http, origin, answer.json()["client_id"])
    for uri in (
        "https://client.example/cb/",
        "https://client.example/cb..;/",
        "https://client.example/cb?",
        "https://client.example/./cb",
        "https://CLIENT.example/cb",
        "https://client.example:443/cb",
        "https://client.example@evil.example/cb",
        "https://client.example%2540evil.example/cb",
        "https://client.example/cb\r\nX: y",
        "http://127.0.0.1:9@evil.example/cb",
        "http://127.0.0.1:\uff11\uff12/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://localhost:9/cb",
    ):
        # What is wrong besides would be reported to the redirect URI, if it were believed.
        reply = await http.get("/oauth/authorize?" + urlencode(_query(client, redirect_uri=uri, response_type="x")))
        assert (reply.status_code, "location" in reply.headers) == (400, False), uri


async def test_a_consent_counts_for_the_browser_and_the_user_that_saw_it_once(
    origin: str, http: httpx2.AsyncClient, client: OAuthClient
) -> None:
    """Incidents 22, 27, 41; security B3, B4: another browser, user, site, or a second time."""
    form = await _consent(http, client)
    approve = {"decision": "approve"}
    async with (
        httpx2.AsyncClient(base_url=origin) as same_user,
        httpx2.AsyncClient(base_url=origin) as other_user,
        httpx2.AsyncClient(base_url=origin) as nobody,
    ):
        await sign_in(same_user, password="correct horse battery")
        await sign_in(other_user, "bob@example.com", "another long password")
        theirs = await _consent(other_user, client)
        for browser in (same_user, other_user, nobody):
            assert (await submit(browser, form, approve)).status_code == 403
        assert (await submit(other_user, form, approve | {"csrf": theirs.fields["csrf"]})).status_code == 400
        foreign = {"tenant_id": theirs.fields["tenant_id"]}
        assert (await submit(http, form, approve | foreign)).status_code == 403
    for headers in (
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert (await submit(http, form, approve, headers=headers)).status_code == 403

    answers = await asyncio.gather(*(submit(http, form, approve) for _ in range(10)))

    assert sorted(answer.status_code for answer in answers) == [303, *[400] * 9]


async def test_no_client_gets_the_scope_admin_however_it_asks(
    origin: str, http: httpx2.AsyncClient, client: OAuthClient
) -> None:
    """Contract, tokens and scopes: asked at registration, authorization, redemption or refresh."""
    code = await client.authorize(_visitor(http, origin), scope="admin mcp offline_access", prompt="consent")
    tokens = (await client.redeem(code)).json()
    assert "admin" not in tokens["scope"].split()
    asked = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "scope": "mcp admin"}
    refused = await http.post("/oauth/token", data=asked | {"client_id": client.client_id})
    assert refused.json()["error"] == "invalid_scope"
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await http.get("/servers", headers=bearer)).status_code == 403


async def test_of_refreshes_and_a_revocation_at_once_no_token_survives(
    origin: str, http: httpx2.AsyncClient, client: OAuthClient
) -> None:
    """Incident 33, security AS6: the revocation takes the lock that the refresh takes."""
    for _ in range(8):
        code = await client.authorize(_visitor(http, origin))
        tokens = (await client.redeem(code)).json()
        revoke = {"token": tokens["refresh_token"], "client_id": client.client_id}
        refreshed = await asyncio.gather(
            *(client.refresh(tokens["refresh_token"]) for _ in range(2)),
            http.post("/oauth/revoke", data=revoke),
            *(client.refresh(tokens["refresh_token"]) for _ in range(2)),
        )
        assert {answer.status_code for answer in refreshed} <= {200, 400}
        for answer in refreshed:
            if answer.status_code == 200 and answer.content:
                assert (await client.refresh(answer.json()["refresh_token"])).status_code == 400
                assert not await client.is_accepted(answer.json()["access_token"])


async def test_a_user_who_is_disabled_is_out_within_two_seconds_on_every_worker(
    topology: Topology, origin: str, http: httpx2.AsyncClient, database_of_module: str
) -> None:
    """Security RS2: cached decisions are two seconds old at most, also when nobody announced anything."""
    token = topology.token("bob@example.com", "rival")
    client = OAuthClient(http, origin)
    assert all([await client.is_accepted(token) for _ in range(10)])
    connection = await asyncpg.connect(driver_url(database_of_module))
    try:
        await connection.execute("UPDATE users SET disabled_at = now() WHERE email = 'bob@example.com'")
        await asyncio.sleep(2.1)
        assert not any([await client.is_accepted(token) for _ in range(10)])
    finally:
        await connection.execute("UPDATE users SET disabled_at = NULL WHERE email = 'bob@example.com'")
        await connection.close()


@pytest.mark.parametrize(
    "path", ["/account/tokens", "/account/tokens/revoke", "/account/grants/revoke", "/account/password"]
)
async def test_a_form_of_a_page_takes_no_nul_to_the_database(http: httpx2.AsyncClient, path: str) -> None:
    """Security AS13: refused with a page; PostgreSQL would fail on it."""
    form = form_of(await http.get("/account"), "/account/tokens")
    names = ("tenant_id", "grant_id", "token_id", "name", "form_id", "current_password", "new_password")
    for name in names:
        filled = form.fields | {"scope": "mcp", name: "a\0b"}
        reply = await http.post(path, data=filled, headers=SAME_ORIGIN)
        assert reply.status_code == 400, name


async def test_what_a_client_calls_itself_is_text_on_every_page(origin: str, http: httpx2.AsyncClient) -> None:
    """Incident 29: markup in names ends as characters, on consent, sign-in and account page, under a strict policy."""
    name = "<img src=x onerror=alert(1)>\"'><script>alert(1)</script>"
    answer = await http.post("/oauth/register", json={"redirect_uris": [REDIRECT], "client_name": name})
    client = OAuthClient(http, origin, answer.json()["client_id"])
    target = "/oauth/authorize?" + urlencode(_query(client))
    async with httpx2.AsyncClient(base_url=origin) as nobody:
        pages = [await nobody.get(target), await http.get(target)]
    consent = next(form for form in read_forms(pages[1].text) if "transaction" in form.fields)
    await submit(http, consent, {"decision": "approve"})
    for page in (*pages, await http.get("/account")):
        assert page.status_code == 200
        assert "&lt;img src=x" in page.text
        assert "<img src=x" not in page.text
        assert "<script" not in page.text
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-frame-options"] == "DENY"


async def test_no_secret_stands_in_a_log_the_database_or_redis(
    topology: Topology, http: httpx2.AsyncClient, client: OAuthClient, origin: str, database_of_module: str
) -> None:
    """Security A1, F20, K1: after all of the above, as the last test of this module."""
    code = await client.authorize(_visitor(http, origin))
    tokens = (await client.redeem(code)).json()
    await client.refresh(tokens["refresh_token"])
    personal = topology.token("ann@example.com", "acme")
    known = [code, tokens["access_token"], tokens["refresh_token"], personal, "correct horse battery"]
    known += [topology.environment[name] for name in ("GATEWAY_SECRET_KEYS", "GATEWAY_RUNNER_KEY")]
    places = {path.name: path.read_text("latin-1") for path in Path(topology.folder).glob("*.log")}
    places |= await _tables(database_of_module) | await _redis_values(topology.environment["GATEWAY_REDIS_URL"])
    assert len(places) > 10
    for place, text in places.items():
        assert not [secret for secret in known if secret in text], place
        assert not re.search(r"gw_(?:at|rt|ac|cs|pat)_[A-Za-z0-9_-]{20}", text), place


async def _tables(url: str) -> dict[str, str]:
    connection = await asyncpg.connect(driver_url(url))
    try:
        tables = await connection.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        )
        found = {}
        for (table,) in tables:
            rows = await connection.fetch(f'SELECT * FROM "{table}"')
            values = [value for row in rows for value in row.values()]
            texts = (value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in values)
            found[table] = "\n".join(texts)
        return found
    finally:
        await connection.close()


async def _redis_values(url: str) -> dict[str, str]:
    async with redis.asyncio.Redis.from_url(url) as store:
        keys = [key async for key in store.scan_iter("*")]
        return {key.decode("latin-1"): (await store.dump(key) or b"").decode("latin-1") for key in keys}
