"""What is purged, and what must stay although it is old; on both databases."""

import asyncio
import threading
from datetime import timedelta

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.storage.sql import purge, tables
from gateway_proxy.storage.sql.browser_sessions import add_browser_session
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.purge import purge_expired
from tests.storage.test_tokens import add_code_and_refresh_token
from tests.support.clock import START
from tests.support.factories import (
    HOUR,
    add_client,
    add_family,
    make_access_token,
    make_personal_token,
    make_tenant,
    make_user,
)

DAY = timedelta(days=1)


async def purge_all(database: Database, after: timedelta) -> int:
    """Purge until there is nothing left to purge."""
    removed = 0
    while step := await database.run(purge_expired, now=START + after):
        removed += step
    return removed


async def count(database: Database, *names: str) -> list[int | None]:
    """How many rows these tables have."""

    def counts(session: Session) -> list[int | None]:
        return [session.scalar(select(func.count()).select_from(tables.metadata.tables[name])) for name in names]

    return await database.read(counts)


async def test_what_is_alive_is_left_alone(database: Database) -> None:
    """Security F13: purging never ends a session."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    await make_access_token(database, tenant=acme, user=ann)
    await make_personal_token(database, tenant=acme, user=ann)
    await database.run(add_code_and_refresh_token, tenant=acme, user=ann)
    await database.run(add_browser_session, digest=digest_of("x"), user_id=ann.id, now=START, expires_at=START + HOUR)
    assert await purge_all(database, timedelta(minutes=1)) == 0


async def test_expired_rows_go_and_grants_stay(database: Database) -> None:
    """Security F13: expired rows are purged; recorded consent is not a token."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    await make_access_token(database, tenant=acme, user=ann)
    await make_personal_token(database, tenant=acme, user=ann)
    await database.run(add_code_and_refresh_token, tenant=acme, user=ann)
    await database.run(add_browser_session, digest=digest_of("x"), user_id=ann.id, now=START, expires_at=START + HOUR)
    await purge_all(database, 40 * DAY)
    gone = ("authorization_codes", "access_tokens", "refresh_tokens", "token_families", "personal_tokens")
    assert await count(database, *gone, "browser_sessions") == [0] * 6
    assert await count(database, "grants", "clients", "users", "tenants") == [2, 2, 1, 1]


async def test_a_code_is_kept_while_its_consent_could_be_sent_again(database: Database) -> None:
    """Security B4: one code per transaction; the unique transaction id guards it for longer than the code lives."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    await database.run(add_code_and_refresh_token, tenant=acme, user=ann)
    await purge_all(database, HOUR + timedelta(minutes=30))
    assert await count(database, "authorization_codes", "token_families") == [1, 1]
    await purge_all(database, 2 * HOUR + timedelta(minutes=1))
    assert await count(database, "authorization_codes", "token_families") == [0, 0]


async def test_an_expired_personal_token_is_listed_for_a_month(database: Database) -> None:
    """Security AS8: people see what became of it."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    await make_personal_token(database, tenant=acme, user=ann)
    assert await purge_all(database, 30 * DAY) == 0
    assert await purge_all(database, 31 * DAY) == 1


async def test_a_sealed_response_is_erased_when_its_window_is_over(database: Database) -> None:
    """Contract, refresh grace: erased after the window; the spent row stays for reuse detection."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])
    await database.run(add_code_and_refresh_token, tenant=acme, user=ann)
    at = START + timedelta(seconds=29)
    assert await database.run(purge_expired, now=at, refresh_grace=timedelta(seconds=30)) == 0
    at = START + timedelta(seconds=30)
    assert await database.run(purge_expired, now=at, refresh_grace=timedelta(seconds=30)) == 1
    assert await database.read(lambda session: session.scalar(select(tables.refresh_tokens.c.sealed_response))) is None
    assert await count(database, "refresh_tokens") == [1]


async def test_unused_registrations_go_and_used_ones_stay(database: Database) -> None:
    """Security AS9: unused clients expire (24 h without a grant)."""
    acme = await make_tenant(database)
    ann = await make_user(database, member_of=[acme])

    def register(session: Session) -> None:
        add_client(session, expires_at=START + DAY)
        used = add_client(session, expires_at=START + DAY)
        add_family(session, tenant=acme, user=ann, client_id=used)

    await database.run(register)
    await purge_all(database, DAY - HOUR)
    assert await count(database, "clients") == [2]
    await purge_all(database, DAY)
    assert await count(database, "clients", "grants") == [1, 1]


async def test_a_great_backlog_is_purged_in_small_transactions(database: Database) -> None:
    """Security F5: a purge runs into no time-out and holds nobody up."""
    ann = await make_user(database)
    rows = [
        {"digest": digest_of(str(number)), "user_id": ann.id, "created_at": START, "expires_at": START + HOUR}
        for number in range(purge.BATCH * 2 + 5)
    ]
    await database.run(lambda session: session.execute(insert(tables.browser_sessions), rows))
    assert [await database.run(purge_expired, now=START + HOUR) for _ in range(4)] == [purge.BATCH, purge.BATCH, 5, 0]


async def test_a_row_that_somebody_holds_is_left_for_the_next_time(postgres_url: str) -> None:
    """Security F5: no deadlock with a redemption."""
    database = Database(postgres_url)
    ann = await make_user(database)
    expiry = START + HOUR
    await database.run(add_browser_session, digest=digest_of("x"), user_id=ann.id, now=START, expires_at=expiry)
    held, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(session: Session) -> None:
        session.execute(update(tables.browser_sessions).values(revoked_at=START))
        loop.call_soon(held.set)
        while not release.is_set():
            session.execute(select(1))

    task = asyncio.create_task(database.run(hold))
    await held.wait()
    assert await database.run(purge_expired, now=expiry) == 0
    release.set()
    await task
    assert await database.run(purge_expired, now=expiry) == 1
    await database.close()
