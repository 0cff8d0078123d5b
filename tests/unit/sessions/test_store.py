"""What every session store promises; each test runs on the in-process store and on a real Redis."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway_proxy.domain.session import SessionRecord, UpstreamSessionRecord
from gateway_proxy.sessions.store import Change, SessionStore
from tests.unit.sessions.conftest import LIMITS, Workers

MakeSession = Callable[..., SessionRecord]
MakeUpstream = Callable[[str], UpstreamSessionRecord]


async def find(store: SessionStore, record: SessionRecord) -> SessionRecord | None:
    """The session as its owner looks for it."""
    return await store.find(record.id, tenant_id=record.tenant_id, user_id=record.user_id, client_id=record.client_id)


async def test_a_session_is_found_by_its_owner_byte_for_byte(store: SessionStore, session: MakeSession) -> None:
    """MCP 2025-11-25, Session Management; relay.md 2: client info and capabilities are raw JSON."""
    record = replace(session(), log_level="info", subscriptions=frozenset({"a://b", "c://d"}), initialized=True)
    await store.add(record)

    assert await find(store, record) == record
    assert await find(store, record) == record


@pytest.mark.parametrize(
    "stranger",
    [
        {"tenant_id": "other", "user_id": "ann", "client_id": "claude"},
        {"tenant_id": "acme", "user_id": "bob", "client_id": "claude"},
        {"tenant_id": "acme", "user_id": "ann", "client_id": "cursor"},
        {"tenant_id": "acme", "user_id": "ann", "client_id": None},
    ],
)
async def test_a_foreign_session_is_the_same_as_an_unknown_one(
    store: SessionStore, session: MakeSession, stranger: dict[str, str | None]
) -> None:
    """Security S1: bound to tenant, user and client, on a cold store and on a warm one."""
    await store.add(session())

    assert await store.find("s1", **stranger) is None  # type: ignore[arg-type]  # the three keywords
    assert await find(store, session()) is not None
    assert await store.find("s1", **stranger) is None  # type: ignore[arg-type]  # the three keywords


@pytest.mark.parametrize("session_id", ["", "nope", "a b", "a:b", "}x{", "é", "x" * 129, "s1\n"])
async def test_an_id_that_was_never_issued_is_unknown(
    store: SessionStore, session: MakeSession, session_id: str
) -> None:
    """Ids come from a header; whatever they hold they find nothing and break nothing."""
    await store.add(session())

    assert await find(store, session(session_id)) is None
    await store.end(session_id, tenant_id="acme")
    assert await find(store, session()) is not None


async def test_a_session_in_use_outlives_its_idle_time(
    workers: Workers, store: SessionStore, session: MakeSession
) -> None:
    """The idle time-out slides with use."""
    await store.add(session())
    for _ in range(3):
        assert await find(store, session()) is not None
        await workers.pass_time(LIMITS.idle_seconds * 0.9)

    assert await find(store, session()) is not None


async def test_an_idle_session_is_forgotten(workers: Workers, store: SessionStore, session: MakeSession) -> None:
    """Security S3."""
    await store.add(session())
    assert await find(store, session()) is not None
    await workers.pass_time(LIMITS.idle_seconds + 1)

    assert await find(store, session()) is None


async def test_a_session_whose_id_never_comes_back_goes_early(
    workers: Workers, store: SessionStore, session: MakeSession
) -> None:
    """reference/clients.md, Claude.ai 10: a new initialize before nearly every call, the id never echoed."""
    await store.add(session())
    await workers.pass_time(LIMITS.unused_seconds + 1)

    assert await find(store, session()) is None


async def test_the_longest_idle_session_makes_room(workers: Workers, store: SessionStore, session: MakeSession) -> None:
    """Security S3: the cap is per user and client, and use counts, not age."""
    for n in range(LIMITS.per_client):
        await store.add(session(f"s{n}"))
        await workers.pass_time(1)
    await store.add(session("bob", user_id="bob"))
    await store.add(session("cursor", client_id="cursor"))
    await workers.pass_time(31)
    assert await find(store, session("s0")) is not None
    await workers.pass_time(1)

    await store.add(session("new"))

    assert await find(store, session("s1")) is None
    for kept in ("s0", "s2", "s3", "new"):
        assert await find(store, session(kept)) is not None
    assert await find(store, session("bob", user_id="bob")) is not None
    assert await find(store, session("cursor", client_id="cursor")) is not None


async def test_a_replaced_record_is_what_is_found(store: SessionStore, session: MakeSession) -> None:
    """The log level and the like change during a session."""
    await store.add(session())
    assert await find(store, session()) is not None
    await store.replace(replace(session(), log_level="debug"))

    found = await find(store, session())
    assert found is not None
    assert found.log_level == "debug"


async def test_an_ended_session_is_unknown_and_stays_so(store: SessionStore, session: MakeSession) -> None:
    """MCP 2025-11-25, Session Management 4–5: DELETE, then 404; a late change does not bring it back."""
    await store.add(session())
    assert await find(store, session()) is not None
    await store.end("s1", tenant_id="acme")
    await store.replace(replace(session(), log_level="debug"))

    assert await find(store, session()) is None


async def test_a_session_cannot_be_ended_from_another_tenant(store: SessionStore, session: MakeSession) -> None:
    """Security T3."""
    await store.add(session())
    await store.end("s1", tenant_id="other")

    assert await find(store, session()) is not None


async def test_the_first_upstream_session_wins(workers: Workers, store: SessionStore, upstream: MakeUpstream) -> None:
    """relay.md 5: workers that open a session at once end up with one."""
    other = await workers.open()
    first, second = await asyncio.gather(
        store.add_upstream(upstream("a"), tenant_id="acme"), other.add_upstream(upstream("b"), tenant_id="acme")
    )

    assert first == second
    assert await other.find_upstream("k", tenant_id="acme") == first
    assert await store.find_upstream("k", tenant_id="other") is None


async def test_an_upstream_session_is_removed_only_while_it_is_the_current_one(
    store: SessionStore, upstream: MakeUpstream
) -> None:
    """relay.md 5: of two calls that both met a 404, the slower must not remove what the faster opened."""
    await store.add_upstream(upstream("old"), tenant_id="acme")
    await store.remove_upstream("k", tenant_id="acme", session_id="old")
    assert await store.find_upstream("k", tenant_id="acme") is None
    await store.add_upstream(upstream("new"), tenant_id="acme")

    await store.remove_upstream("k", tenant_id="acme", session_id="old")
    await store.remove_upstream("k", tenant_id="other", session_id="new")

    assert await store.find_upstream("k", tenant_id="acme") == upstream("new")


async def test_an_upstream_session_without_use_is_forgotten(
    workers: Workers, store: SessionStore, upstream: MakeUpstream
) -> None:
    """Every key has a time to live."""
    await store.add_upstream(upstream("a"), tenant_id="acme")
    await workers.pass_time(LIMITS.upstream_seconds + 1)

    assert await store.find_upstream("k", tenant_id="acme") is None


async def test_changes_made_at_the_same_time_all_hold(store: SessionStore, session: MakeSession) -> None:
    """relay.md 2: subscriptions of one session may be asked for at once, at several workers."""
    await store.add(session())

    def with_uri(number: int) -> Change:
        return lambda now: replace(now, subscriptions=now.subscriptions | {f"a://{number}"})

    await asyncio.gather(*(store.amend(session(), with_uri(number)) for number in range(8)))
    found = await find(store, session())
    assert found is not None
    assert found.subscriptions == {f"a://{number}" for number in range(8)}


async def test_a_session_that_ended_is_not_amended_to_life(store: SessionStore, session: MakeSession) -> None:
    """2025-11-25, Session Management: an ended session stays ended."""
    await store.add(session())
    await store.end("s1", tenant_id="acme")
    await store.amend(session(), lambda now: replace(now, log_level="debug"))
    assert await find(store, session()) is None
