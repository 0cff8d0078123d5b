"""The account page and its forms."""

import asyncio
import re
from datetime import timedelta

import httpx2
import pytest

from gateway_proxy.auth.token_verifier import TokenVerifier
from gateway_proxy.domain.errors import TokenInvalid
from gateway_proxy.domain.tenant import Role
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.grants import list_grants
from gateway_proxy.storage.sql.personal_tokens import list_personal_tokens
from tests.support.clock import FakeClock
from tests.support.form_filling import SAME_ORIGIN, form_of, sign_in, submit
from tests.support.people import PUBLIC_URL, People
from tests.support.people_site import PeopleSite

TOKENS, REVOKE_TOKEN, REVOKE_APP = "/account/tokens", "/account/tokens/revoke", "/account/grants/revoke"
PASSWORD = "/account/password"
NEW_TOKEN = {"name": "Open WebUI", "days": "30", "scope": ["openai"]}


@pytest.mark.parametrize("path", ["/account", TOKENS, REVOKE_TOKEN, REVOKE_APP, PASSWORD])
async def test_who_is_not_signed_in_is_sent_to_sign_in(http: httpx2.AsyncClient, path: str) -> None:
    """Nothing of an account without a session."""
    method = "GET" if path == "/account" else "POST"
    response = await http.request(method, path, headers=SAME_ORIGIN)
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in")


@pytest.mark.parametrize("path", [TOKENS, REVOKE_TOKEN, REVOKE_APP, PASSWORD])
async def test_every_form_needs_its_csrf_token(http: httpx2.AsyncClient, people: People, path: str) -> None:
    """B3."""
    await people.user(password="correct horse")
    await sign_in(http)
    assert (await http.post(path, data={"csrf": "x"}, headers=SAME_ORIGIN)).status_code == 403


@pytest.mark.parametrize("path", [TOKENS, REVOKE_TOKEN, REVOKE_APP, PASSWORD])
async def test_a_get_changes_nothing(http: httpx2.AsyncClient, path: str) -> None:
    """GET is not a method of the forms."""
    assert (await http.get(path)).status_code == 405


async def test_a_new_token_is_shown_once_and_works(
    http: httpx2.AsyncClient, site: PeopleSite, people: People, database: Database, clock: FakeClock
) -> None:
    """AS8: shown once, stored as a digest, expiring."""
    user, tenant = await people.user(password="correct horse"), await people.tenant()
    await people.join(user, tenant)
    await sign_in(http)
    shown = await submit(http, form_of(await http.get("/account"), TOKENS), NEW_TOKEN)
    [secret] = set(re.findall(r"gw_pat_[\w-]{43}", shown.text))
    verified = await TokenVerifier(database, clock, public_url=PUBLIC_URL).verify(secret)
    assert (verified.principal.user_id, verified.principal.scopes) == (user.id, frozenset({"openai"}))
    assert verified.principal.expires_at == clock.now() + timedelta(days=30)
    listed = await http.get("/account")
    assert "Open WebUI" in listed.text
    assert secret not in listed.text
    assert "personal_token.created" in await site.events()
    assert all(secret not in str(entry.detail) for entry in site.recorded)


async def test_a_form_sent_twice_makes_one_token(http: httpx2.AsyncClient, people: People, database: Database) -> None:
    """A reload of the page with the secret, or a double click; also at the same time."""
    user, tenant = await people.user(password="correct horse"), await people.tenant()
    await people.join(user, tenant)
    await sign_in(http)
    form = form_of(await http.get("/account"), TOKENS)
    responses = await asyncio.gather(*(submit(http, form, NEW_TOKEN) for _ in range(3)))
    assert sorted(response.status_code for response in responses) == [200, 409, 409]
    assert len(await database.read(list_personal_tokens, tenant_id=tenant.id, user_id=user.id)) == 1


@pytest.mark.parametrize(
    ("filled", "field", "element"),
    [
        ({"name": ""}, "Name", "token-name"),
        ({"name": "x" * 101}, "Name", "token-name"),
        ({"name": "a\u202eb"}, "Name", "token-name"),
        ({"days": "36500"}, "Expires in", "token-days"),
        ({"days": ""}, "Expires in", "token-days"),
        ({"scope": []}, "Permissions", "token-scope"),
        ({"scope": ["root"]}, "Permissions", "token-scope"),
        ({"scope": ["offline_access"]}, "Permissions", "token-scope"),
        ({"tenant_id": "f" * 32}, "Team", None),
        ({"form_id": "x"}, "The form", None),
    ],
)
async def test_a_wrong_field_is_named(
    http: httpx2.AsyncClient, people: People, filled: dict[str, str | list[str]], field: str, element: str | None
) -> None:
    """Contract: a message that names the field and what was expected; it leads to the field, which says so itself."""
    user, tenant = await people.user(password="correct horse"), await people.tenant()
    await people.join(user, tenant)
    await sign_in(http)
    response = await submit(http, form_of(await http.get("/account"), TOKENS), NEW_TOKEN | filled)
    assert response.status_code == 400
    assert f"The token was not made: {field} " in response.text
    assert "<title>Error: " in response.text
    if element is not None:
        assert f'href="#{element}"' in response.text
        [tag] = re.findall(f'<[^>]*id="{element}"[^>]*>', response.text)
        assert 'aria-invalid="true"' in tag
        assert re.search(r'aria-describedby="[^"]*\bproblem"', tag)


async def test_what_was_filled_in_is_kept_when_something_is_wrong(http: httpx2.AsyncClient, people: People) -> None:
    """WCAG 2.2 §3.3.7: nobody types it twice."""
    user, tenant = await people.user(password="correct horse"), await people.tenant()
    await people.join(user, tenant)
    await sign_in(http)
    filled = {"name": 'my "script"', "days": "7", "scope": ["openai", "root"]}
    response = await submit(http, form_of(await http.get("/account"), TOKENS), NEW_TOKEN | filled)
    assert form_of(response, TOKENS).fields["name"] == 'my "script"'
    assert '<option value="7" selected>' in response.text
    assert 'value="openai" checked' in response.text
    assert 'value="mcp" checked' not in response.text


async def test_admin_is_for_administrators_of_that_team_only(http: httpx2.AsyncClient, people: People) -> None:
    """Contract: only a personal token made by an owner or admin carries it."""
    user = await people.user(password="correct horse")
    ruled, joined = await people.tenant("ruled"), await people.tenant("joined")
    await people.join(user, ruled, Role.OWNER)
    await people.join(user, joined)
    await sign_in(http)
    admin = NEW_TOKEN | {"scope": ["admin"]}
    form = form_of(await http.get("/account"), TOKENS)
    assert (await submit(http, form, admin | {"tenant_id": joined.id})).status_code == 400
    assert (await submit(http, form, admin | {"tenant_id": ruled.id})).status_code == 200


async def test_a_member_is_not_offered_admin(http: httpx2.AsyncClient, people: People) -> None:
    """As the role allows."""
    user, tenant = await people.user(password="correct horse"), await people.tenant()
    await people.join(user, tenant)
    await sign_in(http)
    assert 'value="admin"' not in (await http.get("/account")).text


async def test_a_revoked_token_is_gone_at_once(
    http: httpx2.AsyncClient, site: PeopleSite, people: People, database: Database, clock: FakeClock
) -> None:
    """AS8: listed, revocable; other workers are told."""
    user, tenant = await people.user(password="correct horse"), await people.tenant()
    await people.join(user, tenant)
    secret, _ = await people.personal_token(user, tenant)
    await sign_in(http)
    response = await submit(http, form_of(await http.get("/account"), REVOKE_TOKEN))
    assert response.headers["location"] == "/account?done=token-revoked"
    with pytest.raises(TokenInvalid):
        await TokenVerifier(database, clock, public_url=PUBLIC_URL).verify(secret)
    assert site.announced == 1
    page = await http.get(response.headers["location"])
    assert "The token no longer works." in page.text
    assert REVOKE_TOKEN not in page.text


async def test_an_apps_access_can_be_taken_back(
    http: httpx2.AsyncClient, site: PeopleSite, people: People, database: Database, clock: FakeClock
) -> None:
    """Its tokens end with it."""
    user, tenant = await people.user(password="correct horse"), await people.tenant()
    await people.join(user, tenant)
    issued = await people.access_token(user, tenant)
    await sign_in(http)
    page = await http.get("/account")
    assert "Claude" in page.text
    assert "client.example" in page.text
    response = await submit(http, form_of(page, REVOKE_APP))
    assert response.headers["location"] == "/account?done=app-revoked"
    assert await database.read(list_grants, tenant_id=tenant.id, user_id=user.id) == []
    with pytest.raises(TokenInvalid):
        await TokenVerifier(database, clock, public_url=PUBLIC_URL).verify(issued.secret)
    assert site.announced == 1


async def test_nobody_can_revoke_what_is_somebody_elses(
    http: httpx2.AsyncClient, people: People, database: Database, clock: FakeClock
) -> None:
    """Foreign is the same as unknown: 404, and it lives on."""
    tenant = await people.tenant()
    ann, bob = await people.user(password="correct horse"), await people.user("bob@example.com", name="Bob")
    await people.join(ann, tenant, Role.OWNER)
    await people.join(bob, tenant)
    await people.personal_token(ann, tenant)
    secret, token = await people.personal_token(bob, tenant)
    issued = await people.access_token(bob, tenant)
    await sign_in(http)
    csrf = form_of(await http.get("/account"), REVOKE_TOKEN).fields["csrf"]
    fields = {"csrf": csrf, "tenant_id": tenant.id}
    for token_id in (token.id, "f" * 32):
        response = await http.post(REVOKE_TOKEN, data=fields | {"token_id": token_id}, headers=SAME_ORIGIN)
        assert response.status_code == 404
    response = await http.post(REVOKE_APP, data=fields | {"grant_id": issued.grant.id}, headers=SAME_ORIGIN)
    assert response.status_code == 404
    verifier = TokenVerifier(database, clock, public_url=PUBLIC_URL)
    assert await verifier.verify(secret)
    assert await verifier.verify(issued.secret)
    await verifier.close()


async def test_a_changed_password_signs_every_other_browser_out(
    http: httpx2.AsyncClient, site: PeopleSite, people: People
) -> None:
    """The one that changed it stays."""
    await people.user(password="correct horse")
    transport = httpx2.ASGITransport(app=site.app)
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC_URL) as other:
        await sign_in(other)
        await sign_in(http)
        filled = {
            "current_password": "correct horse",
            "new_password": "battery staple",
            "repeated_password": "battery staple",
        }
        response = await submit(http, form_of(await http.get("/account"), PASSWORD), filled)
        assert response.headers["location"] == "/account?done=password-changed"
        assert (await http.get("/account")).status_code == 200
        assert (await other.get("/account")).status_code == 303
        assert (await sign_in(other)).status_code == 403
        assert (await sign_in(other, password="battery staple")).status_code == 303
    assert "password.changed" in await site.events()


@pytest.mark.parametrize(
    ("current", "new", "repeated", "words", "element"),
    [
        ("wrong", "battery staple", "battery staple", "the current password is not right", "current"),
        ("correct horse", "battery staple", "battery stapler", "not the same", "repeated"),
        ("correct horse", "short", "short", "8 characters or more", "new"),
    ],
)
async def test_a_password_is_not_changed_when_something_does_not_fit(
    http: httpx2.AsyncClient, people: People, current: str, new: str, repeated: str, words: str, element: str
) -> None:
    """With the old one in hand, and the new one typed twice."""
    await people.user(password="correct horse")
    await sign_in(http)
    filled = {"current_password": current, "new_password": new, "repeated_password": repeated}
    response = await submit(http, form_of(await http.get("/account"), PASSWORD), filled)
    assert response.status_code == 400
    assert words in response.text
    assert f'href="#{element}"' in response.text
    [tag] = re.findall(f'<[^>]*id="{element}"[^>]*>', response.text)
    assert 'aria-invalid="true"' in tag
    http.cookies.clear()
    assert (await sign_in(http)).status_code == 303


async def test_guessing_the_current_password_is_limited_with_sign_in(http: httpx2.AsyncClient, people: People) -> None:
    """Security incident 39: one authenticate(), one limit."""
    await people.user(password="correct horse")
    await sign_in(http)
    form = form_of(await http.get("/account"), PASSWORD)
    filled = {"current_password": "x", "new_password": "battery staple", "repeated_password": "battery staple"}
    for _ in range(10):
        assert (await submit(http, form, filled)).status_code == 400
    assert (await submit(http, form, filled)).status_code == 429
