"""Redis as it fails: every way of it becomes the one reason that surfaces know. No commands here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from redis.exceptions import RedisError

from gateway_proxy.domain.errors import StorageUnavailable

PATIENCE_SECONDS: Final = 3.0
"""A Redis that hangs is a Redis that is down: the client hears 503 after this, whatever the driver would retry."""


@asynccontextmanager
async def reachable() -> AsyncIterator[None]:
    """Turn every way in which Redis can fail us into StorageUnavailable."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise StorageUnavailable from error
