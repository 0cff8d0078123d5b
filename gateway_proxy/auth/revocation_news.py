"""Pushes revocations to every worker: whoever caches verified tokens forgets them at once, not when its copy ages out.

Only the fact that something was revoked travels. Losing a message costs the two seconds a cached decision lives.
"""

from typing import Final

from redis.asyncio import Redis

from gateway_proxy.auth.token_verifier import TokenVerifier
from gateway_proxy.storage.redis.keys import revocation_news_channel
from gateway_proxy.storage.redis.news import News

EVERYTHING: Final = "all"


class RevocationNews:
    """`announce` after a revocation was committed; `start` and `stop` with the worker."""

    def __init__(self, redis: Redis | None, verifier: TokenVerifier) -> None:
        self._verifier = verifier
        self._news = News(redis, revocation_news_channel(), heard=self._hear, reset=verifier.forget_all)

    async def announce(self) -> None:
        """Forget here and tell the others. Never fails: what cannot be told is known to them within two seconds."""
        self._verifier.forget_all()
        await self._news.tell(EVERYTHING)

    async def start(self) -> None:
        """Begin to listen."""
        await self._news.start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._news.stop()

    def _hear(self, name: str) -> None:
        self._verifier.forget_all()
