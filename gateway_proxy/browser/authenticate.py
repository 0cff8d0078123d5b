"""The one authenticate(): whoever proves to be a person with a password comes through here, on every surface.

Tries are counted before the password is looked at, per account and per account and address, also for accounts that do
not exist; the answer and its time do not say which part was wrong.
"""

from typing import Final

from gateway_proxy.auth.passwords import PasswordHasher
from gateway_proxy.domain.errors import SignInRefused
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.domain.tenant import User
from gateway_proxy.limits.limiter import Limiter
from gateway_proxy.limits.networks import network_of
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.users import find_password_hash, set_password_hash
from gateway_proxy.telemetry.audit import AuditTrail

TRIES: Final = 10
WINDOW_SECONDS: Final = 300.0
MAXIMUM_EMAIL: Final = 254
ACCOUNT: Final = "sign-in-account"
ACCOUNT_AND_ADDRESS: Final = "sign-in-account-address"


class Authenticator:
    """Checks an e-mail address and a password."""

    def __init__(self, database: Database, hasher: PasswordHasher, limiter: Limiter, audit: AuditTrail) -> None:
        self._database = database
        self._hasher = hasher
        self._limiter = limiter
        self._audit = audit

    async def authenticate(self, email: str, password: str, *, address: str | None) -> User:
        """The user whose password this is. `address` is the caller's, None when it is not known.

        Raises:
            SignInRefused: Unknown, wrong, without a password, or disabled; never said which.
            RateLimited: Ten tries within five minutes for this account.
            StorageUnavailable: The database does not answer.
        """
        email = email.strip().lower()
        account = digest_of(email).hex()  # bounded, and no address in the limiter's keys
        network = network_of(address)
        await self._limiter.hit(ACCOUNT_AND_ADDRESS, account, network, limit=TRIES, window=WINDOW_SECONDS)
        await self._limiter.hit(ACCOUNT, account, limit=TRIES, window=WINDOW_SECONDS)
        user = await self._verify(email, password)
        await self._limiter.reset(ACCOUNT_AND_ADDRESS, account, network)
        await self._limiter.reset(ACCOUNT, account)
        self._audit.record("sign_in.accepted", user_id=user.id, address=network)
        return user

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
