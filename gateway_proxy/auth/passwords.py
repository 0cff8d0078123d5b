"""Passwords: argon2id in threads, a bounded number at a time. Who may sign in is decided in `browser.authenticate`."""

import asyncio
import base64
import secrets
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from gateway_proxy.domain.errors import PasswordUnacceptable, RateLimited

if TYPE_CHECKING:
    import argon2

T = TypeVar("T")

MINIMUM_BYTES: Final = 8
MAXIMUM_BYTES: Final = 1024


class PasswordHasher:
    """argon2id (RFC 9106) for people's passwords.

    One hash takes `memory_kib` and tens of milliseconds: at most `parallel` run at once and at most `waiting` queue, so
    a flood of sign-ins costs its senders time-outs, not us our memory.
    """

    def __init__(
        self,
        *,
        time_cost: int = 3,
        memory_kib: int = 32 * 1024,
        parallel: int = 2,
        waiting: int = 100,
    ) -> None:
        self._time_cost = time_cost
        self._memory_kib = memory_kib
        self._slots = asyncio.Semaphore(parallel)
        self._free_places = parallel + waiting
        # A well-formed hash that no password has: verifying against it costs what verifying a real one costs.
        salt, tail = (base64.b64encode(secrets.token_bytes(n)).decode().rstrip("=") for n in (16, 32))
        self._dummy = f"$argon2id$v=19$m={memory_kib},t={time_cost},p=1${salt}${tail}"

    @cached_property
    def _argon2(self) -> "argon2.PasswordHasher":
        import argon2  # noqa: PLC0415 - loaded with the first password: most workers never see one

        return argon2.PasswordHasher(time_cost=self._time_cost, memory_cost=self._memory_kib, parallelism=1)

    async def hash(self, password: str) -> str:
        """The encoded hash to store, of 8 to 1024 bytes of password.

        Raises:
            PasswordUnacceptable: It is shorter or longer.
            RateLimited: Too many are waiting already.
        """
        if not MINIMUM_BYTES <= len(_encode(password)) <= MAXIMUM_BYTES:
            raise PasswordUnacceptable(MINIMUM_BYTES, MAXIMUM_BYTES)
        return await self._in_thread(lambda: self._argon2.hash(_encode(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one behind `stored`. None is verified against a dummy, in the same time.

        Raises:
            RateLimited: Too many are waiting already.
        """
        if len(_encode(password)) > MAXIMUM_BYTES:
            return False
        return await self._in_thread(lambda: self._is_match(stored or self._dummy, password)) and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether `stored` was made with other parameters than today's and should be made again at sign-in."""
        return self._argon2.check_needs_rehash(stored)

    def _is_match(self, stored: str, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415 - as above

        try:
            return self._argon2.verify(stored, _encode(password))
        except (VerificationError, InvalidHashError):  # another's, or no hash of ours and so nobody's
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._free_places <= 0:
            raise RateLimited(retry_after=1.0)
        self._free_places -= 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work)
        finally:
            self._free_places += 1


def _encode(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
