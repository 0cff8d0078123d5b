"""The connection to Redis: a bounded pool, time limits that cost no cancellation, nothing that waits at import."""

import asyncio
from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway_proxy.domain.errors import StorageUnavailable

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 5.0
"""How long callers without a limit of their own wait for an answer."""

MAXIMUM_CONNECTIONS: Final = 64


def open_redis(url: str) -> Redis:
    """Open Redis at `redis://…`, `rediss://…` or `unix://…`; connects on first use, gives bytes, not text.

    A dropped connection is tried again twice within a second, so that a restart of Redis goes by unseen; after that the
    caller gets a `RedisError` and degrades. Close it with `aclose()`.

    The driver's own limit on an answer (`socket_timeout`) is off: it sends by `asyncio.wait_for`, which before Python
    3.12 swallows a cancellation that meets the end of the sending. A stream whose client had left stayed open for ever
    then. So whoever asks Redis puts `asyncio.timeout` around it.
    """
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAXIMUM_CONNECTIONS,
        timeout=CONNECT_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=None,
        health_check_interval=30,
        client_name="gateway-proxy",
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    return Redis.from_pool(pool)


async def ping_redis(redis: Redis) -> None:
    """Ask Redis for a sign of life.

    Raises:
        StorageUnavailable: It gives none.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await redis.ping()
    except (RedisError, OSError) as error:
        raise StorageUnavailable from error
