"""The connection to Redis: time limits on everything, a bounded pool, and nothing that waits at import."""

from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 5.0
MAXIMUM_CONNECTIONS: Final = 64


def open_redis(url: str) -> Redis:
    """Open Redis at `redis://…`, `rediss://…` or `unix://…`; connects on first use, gives bytes, not text.

    A dropped connection is tried again twice within a second, so that a restart of Redis goes by unseen; after that the
    caller gets a `RedisError` and degrades. Close it with `aclose()`.
    """
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAXIMUM_CONNECTIONS,
        timeout=CONNECT_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        health_check_interval=30,
        client_name="gateway-proxy",
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    return Redis.from_pool(pool)
