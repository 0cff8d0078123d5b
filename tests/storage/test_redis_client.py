"""The connection to Redis: bounded waits, and a restart that nobody sees."""

import asyncio
import inspect
import time

import pytest
from redis.exceptions import RedisError

from gateway_proxy.storage.redis import client, keys
from gateway_proxy.storage.redis.client import MAXIMUM_CONNECTIONS, open_redis
from tests.support.redis import through_port
from tests.support.tcp_link import TcpLink


async def test_values_are_bytes(redis_url: str) -> None:
    """House, Redis: values are versioned bytes, never guessed text."""
    redis = open_redis(redis_url)
    await redis.set("gw:1:{-}:test", b"\xff\x00", px=1000)
    assert await redis.get("gw:1:{-}:test") == b"\xff\x00"
    await redis.aclose()


async def test_a_dropped_connection_is_replaced_unseen(redis_url: str) -> None:
    """Security O5, F6: Redis restarts, callers go on."""
    async with TcpLink(redis_url) as link:
        redis = open_redis(through_port(redis_url, link.port))
        await redis.set("gw:1:{-}:test", "1", px=60_000)
        await link.cut()
        await link.mend()
        assert await redis.get("gw:1:{-}:test") == b"1"
        await redis.aclose()


async def test_a_redis_out_of_reach_is_an_error_within_seconds() -> None:
    """Security O5: degrade, do not hang."""
    redis = open_redis("redis://127.0.0.1:1/0")
    started = time.monotonic()
    with pytest.raises(RedisError):
        await redis.ping()
    assert time.monotonic() - started < 3
    await redis.aclose()


async def test_a_cancellation_at_any_moment_of_a_command_ends_its_caller(redis_url: str) -> None:
    """Security F12: a stream whose client leaves ends, wherever in a command to Redis that finds it."""
    redis = open_redis(redis_url)
    await redis.ping()

    async def ask() -> None:
        await redis.get("gw:1:{-}:test")
        await asyncio.Event().wait()

    for steps in range(60):
        caller = asyncio.create_task(ask())
        for _ in range(steps):
            await asyncio.sleep(0)
        caller.cancel()
        _, alive = await asyncio.wait({caller}, timeout=2)
        assert not alive, f"swallowed after {steps} steps"
        await redis.ping()
    await redis.aclose()


async def test_connections_are_bounded_and_waiting_for_one_ends(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Security F5: a bounded queue."""
    monkeypatch.setattr(client, "MAXIMUM_CONNECTIONS", 2)
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.1)
    redis = open_redis(redis_url)
    held = [await redis.connection_pool.get_connection() for _ in range(2)]  # type: ignore[no-untyped-call]
    with pytest.raises(RedisError):
        await redis.ping()
    for connection in held:
        await redis.connection_pool.release(connection)
    assert await redis.ping()
    await redis.aclose()
    assert MAXIMUM_CONNECTIONS == 64


def test_every_key_says_version_tenant_and_type() -> None:
    """House, Redis: `gw:<version>:{<tenant or ->}:<type>:…`; security T3."""
    makers = [maker for name, maker in inspect.getmembers(keys, inspect.isfunction) if not name.startswith("_")]
    assert len(makers) >= 4
    for maker in makers:
        parameters = inspect.signature(maker).parameters
        made = maker(*(("x",) if name == "parts" else f"a-{name}" for name in parameters))
        version, tenant, kind = made.split(":")[:2], made.split(":")[2], made.split(":")[3]
        assert version == ["gw", "1"]
        assert tenant == ("{a-tenant_id}" if "tenant_id" in parameters else "{-}")
        assert kind
