"""The engine for PostgreSQL, by asyncpg. Loaded only where it is used (ADR 12)."""

from collections.abc import Mapping
from typing import Final

import asyncpg
from sqlalchemy.engine.url import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway_proxy.storage.sql.waiting import COMMAND_SECONDS, WAIT_SECONDS

WRITES: Final[Mapping[str, str]] = {"isolation_level": "READ COMMITTED"}
_FAREWELL_SECONDS: Final = 0.25  # for closing a connection; a server that is frozen is not waited for


def open_engine(address: URL, *, pool_size: int) -> AsyncEngine:
    """An engine with time limits on everything that can wait."""
    return create_async_engine(
        address,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        pool_pre_ping=True,
        pool_recycle=1800,
        isolation_level="AUTOCOMMIT",  # of reads, and of the ping before each use: one round trip each instead of three
        connect_args={
            "connection_class": _Connection,
            "timeout": WAIT_SECONDS,
            "command_timeout": WAIT_SECONDS + 0.25,  # the server gives up first, unless it is frozen
            "server_settings": {
                "application_name": "gateway-proxy",
                "statement_timeout": str(int(WAIT_SECONDS * 1000)),
                "lock_timeout": str(int(WAIT_SECONDS * 800)),
                "idle_in_transaction_session_timeout": str(int(COMMAND_SECONDS * 1000)),
            },
        },
    )


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # of a library without types
    """A connection that is not held on to: SQLAlchemy would let a server that does not answer have two seconds more."""

    async def close(self, *, timeout: float | None = None) -> None:
        """Say good-bye, and hang up on a server that does not."""
        await super().close(timeout=_FAREWELL_SECONDS if timeout is None else min(timeout, _FAREWELL_SECONDS))
