"""News between workers over Redis pub/sub: which copies to forget. Best effort, and honest about being deaf.

Only names of records travel here, no content; what must not be lost (mailbox, event log) uses streams instead. Whoever
keeps copies (sessions, verified tokens, definitions) has a channel and a `News` of its own.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from gateway_proxy.domain.ids import new_id
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

LISTEN_SECONDS: Final = 5.0
MAX_BACK_OFF: Final = 5.0
SUBSCRIBE_SECONDS: Final = 5.0
TELL_SECONDS: Final = 2.0  # whoever tells has a caller who waits


class News:
    """One subscription per worker. `heard` is called for every name that another worker published.

    While `is_listening` is false a message may have been missed, so copies are good for two seconds only. A silent
    connection is pinged and given up after two periods without an answer. `reset` is called before each new
    subscription is trusted, because nobody knows what was said in the gap.
    """

    def __init__(
        self, redis: Redis | None, channel: str, *, heard: Callable[[str], None], reset: Callable[[], None]
    ) -> None:
        """Without a Redis this is the only worker: there is nobody to tell, and nothing to hear."""
        self._redis = redis
        self._channel = channel
        self._heard = heard
        self._reset = reset
        self._worker = new_id()
        self._task: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    @property
    def is_listening(self) -> bool:
        """Whether news arrive at present."""
        return self._listening.is_set()

    def encode(self, name: str) -> str:
        """The message to publish on the channel; our own echo is recognised by the worker's id in front."""
        return f"{self._worker} {name}"

    async def tell(self, name: str) -> None:
        """Publish a name to the other workers. Never fails: what cannot be told ages out of their copies."""
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(TELL_SECONDS):
                await self._redis.publish(self._channel, self.encode(name))
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("news_not_told", channel=self._channel, fault=type(error).__name__)

    async def start(self) -> None:
        """Begin to listen; returns when subscribed, or after a moment without it (the caller works all the same)."""
        if self._redis is None:
            return
        self._task = asyncio.create_task(self._listen(self._redis), name=f"news {self._channel}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._listening.wait()

    async def stop(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._listening.clear()

    async def _listen(self, redis: Redis) -> None:
        back_off = 0.1
        while True:
            pubsub = redis.pubsub()
            try:
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    await pubsub.subscribe(self._channel)
                await self._hear(pubsub)
            except (RedisError, OSError, TimeoutError) as error:
                if self._listening.is_set():
                    back_off = 0.1
                self._listening.clear()
                log.warning("news_lost", channel=self._channel, fault=type(error).__name__)
            finally:
                self._listening.clear()
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
            await asyncio.sleep(back_off)
            back_off = min(back_off * 2, MAX_BACK_OFF)

    async def _hear(self, pubsub: PubSub) -> None:
        """Read messages until the connection fails or stays silent through a ping."""
        silent = 0
        while True:
            message = await pubsub.get_message(timeout=LISTEN_SECONDS)
            if message is None:
                silent += 1
                if silent > 1:
                    raise TimeoutError
                await pubsub.ping()
                continue
            silent = 0
            if message["type"] == "subscribe":
                self._reset()
                self._listening.set()
            elif message["type"] == "message":
                data = message["data"]
                worker, _, name = (data.decode() if isinstance(data, bytes) else data).partition(" ")
                if worker != self._worker:
                    self._heard(name)
