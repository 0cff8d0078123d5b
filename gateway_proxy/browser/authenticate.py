"""The one authenticate(): whoever proves to be a person with a password comes through here, on every surface.

Tries are counted before the password is looked at, also for accounts that do not exist; the answer and its time do not
say which part was wrong. A browser that knows the account (`devices`) has a count of its own; all others share one per
account and one per account and address, so whoever guesses from elsewhere locks nobody out. One password tried on many
accounts is bounded by the failures of an address, and no address may keep everybody else waiting.
"""

from typing import Final

from gateway_proxy.auth.passwords import PasswordHasher
from gateway_proxy.browser.devices import account_of
from gateway_proxy.browser.queues import Queues
from gateway_proxy.domain.errors import SignInRefused
from gateway_proxy.domain.tenant import User
from gateway_proxy.limits.limiter import Limiter
from gateway_proxy.limits.networks import UNKNOWN, network_of
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.users import find_password_hash, set_password_hash
from gateway_proxy.telemetry.audit import AuditTrail

TRIES: Final = 10
WINDOW_SECONDS: Final = 300.0
FAILURES_ALLOWED: Final = 100  # of one address, for whichever accounts, in the same time
AT_ONCE: Final = 4  # of one address are checked at once, however many come
QUEUE: Final = 100  # of one address in all, those at once and those that wait for them
MAXIMUM_EMAIL: Final = 254
ACCOUNT: Final = "sign-in-account"
ACCOUNT_AND_ADDRESS: Final = "sign-in-account-address"
ACCOUNT_AND_DEVICE: Final = "sign-in-account-device"
FAILURES: Final = "sign-in-failures"


class Authenticator:
    """Checks an e-mail address and a password."""

    def __init__(self, database: Database, hasher: PasswordHasher, limiter: Limiter, audit: AuditTrail) -> None:
        self._database = database
        self._hasher = hasher
        self._limiter = limiter
        self._audit = audit
        self._queues = Queues(AT_ONCE, QUEUE)

    async def authenticate(self, email: str, password: str, *, address: str | None, device: str | None = None) -> User:
        """The user whose password this is.

        `address` is the caller's, None when it is not known; `device` is what `Devices.find` says of the browser.

        Raises:
            SignInRefused: Unknown, wrong, without a password, or disabled; never said which.
            RateLimited: Ten tries within five minutes in this browser, or by strangers for this account; or this
                address failed too often, or tries too much at once.
            StorageUnavailable: The database does not answer.
        """
        email = email.strip().lower()
        network = network_of(address)
        counts = _counts(account_of(email), network, device)
        for count in counts:
            await self._limiter.hit(*count, limit=TRIES, window=WINDOW_SECONDS)
        if device is not None or network == UNKNOWN:
            user = await self._verify(email, password)
        else:
            user = await self._verify_stranger(email, password, network)
        for count in counts:
            await self._limiter.reset(*count)
        self._audit.record("sign_in.accepted", user_id=user.id, address=network)
        return user

    async def _verify_stranger(self, email: str, password: str, network: str) -> User:
        await self._limiter.hit(FAILURES, network, limit=FAILURES_ALLOWED, window=WINDOW_SECONDS, count=False)
        try:
            async with self._queues.turn(network):
                return await self._verify(email, password)
        except SignInRefused:
            await self._limiter.hit(FAILURES, network, limit=FAILURES_ALLOWED, window=WINDOW_SECONDS)
            raise

    async def _verify(self, email: str, password: str) -> User:
        is_plausible = len(email) <= MAXIMUM_EMAIL and email.isprintable()
        found = await self._database.read(find_password_hash, email=email) if is_plausible else None
        user, stored = found if found is not None else (None, None)
        is_right = await self._hasher.verify(stored, password)
        if user is None or stored is None or not is_right or user.disabled_at is not None:
            self._audit.record("sign_in.refused", user_id=None if user is None else user.id)
            raise SignInRefused
        if self._hasher.is_outdated(stored):
            renewed = await self._hasher.hash(password)
            await self._database.run(set_password_hash, user_id=user.id, password_hash=renewed)
        return user


def _counts(account: str, network: str, device: str | None) -> tuple[tuple[str, ...], ...]:
    """The windows that a try counts in. One in a known browser never touches what strangers have used up."""
    if device is not None:
        return ((ACCOUNT_AND_DEVICE, account, device),)
    return ((ACCOUNT_AND_ADDRESS, account, network), (ACCOUNT, account))
