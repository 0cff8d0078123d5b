"""Clients at rest, on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway_proxy.domain.errors import AlreadyExists
from gateway_proxy.domain.oauth import Client
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.storage.sql.clients import add_client, find_client, keep_client, put_client, remove_client
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import START

DAY = timedelta(days=1)
CLIENT = Client(
    id="gwc_one",
    kind="registered",
    name="A client — ü",
    redirect_uris=("https://client.example/a", "http://localhost/b"),
    grant_types=("authorization_code", "refresh_token"),
    response_types=("code",),
    auth_method="client_secret_basic",
    application_type="native",
    scope="mcp openai",
    client_uri="https://client.example/",
    secret_digest=digest_of("gw_cs_secret"),
    created_at=START,
    expires_at=START + DAY,
)


async def test_a_client_comes_back_as_it_was_added(database: Database) -> None:
    """RFC 7591 §2: every field that is kept."""
    await database.run(add_client, client=CLIENT)
    assert await database.read(find_client, client_id=CLIENT.id, now=START) == CLIENT
    assert await database.read(find_client, client_id="gwc_other", now=START) is None
    with pytest.raises(AlreadyExists):
        await database.run(add_client, client=CLIENT)


async def test_an_unused_registration_expires_and_a_used_one_does_not(database: Database) -> None:
    """Security AS9."""
    await database.run(add_client, client=CLIENT)
    await database.run(add_client, client=replace(CLIENT, id="gwc_two"))
    assert await database.run(keep_client, client_id="gwc_two", now=START)
    assert await database.read(find_client, client_id="gwc_one", now=START + DAY) is None
    kept = await database.read(find_client, client_id="gwc_two", now=START + DAY)
    assert kept == replace(CLIENT, id="gwc_two", expires_at=None)
    assert not await database.run(keep_client, client_id="gwc_one", now=START + DAY)


async def test_a_document_client_is_overwritten_by_what_its_document_says_now(database: Database) -> None:
    """Client ID Metadata Documents: ids are URLs of up to 2048 characters."""
    first = replace(CLIENT, id="https://app.example/" + "c" * 2028, kind="metadata_document", expires_at=None)
    await database.run(put_client, client=first)
    second = replace(first, name="Renamed", redirect_uris=("https://client.example/new",))
    await database.run(put_client, client=second)
    assert await database.read(find_client, client_id=first.id, now=START) == second


async def test_a_removed_client_is_gone(database: Database) -> None:
    """clients.md 6: the next request is invalid_client."""
    await database.run(add_client, client=CLIENT)
    assert await database.run(remove_client, client_id=CLIENT.id)
    assert not await database.run(remove_client, client_id=CLIENT.id)
    assert await database.read(find_client, client_id=CLIENT.id, now=START) is None
