"""Secret → Principal, at the price of one SHA-256 and one dictionary look-up. The truth stays in SQL.

Decisions are cached for at most `ttl` seconds, so a revocation is felt within that time even when its push was lost.
Refusals are cached in a table of their own: a flood of wrong tokens cannot drive the good ones out. Authorization by
scope may not be put here.
"""

import asyncio
import contextlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from gateway_proxy.auth.bearer import read_bearer
from gateway_proxy.auth.scopes import effective_scopes
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import StorageUnavailable, TokenInvalid, TokenMalformed, TokenMissing
from gateway_proxy.domain.principal import Principal, TokenKind
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.domain.tenant import Tenant
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.personal_tokens import note_personal_token_use
from gateway_proxy.storage.sql.principals import TokenGrounds, find_token_grounds

CACHE_SECONDS: Final = 2.0
CACHE_ENTRIES: Final = 20_000
NOTE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A verified caller, with the tenant of the token's row."""

    principal: Principal
    tenant: Tenant


class TokenVerifier:
    """The one check behind every bearer token. One instance per worker, shared by all surfaces.

    Our identifiers are PUBLIC_URL and its /mcp, /sse and /v1; a token for anybody else is unknown.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        public_url: str,
        ttl: float = CACHE_SECONDS,
        entries: int = CACHE_ENTRIES,
    ) -> None:
        self._database = database
        self._clock = clock
        self._public_url = public_url
        self._audiences = frozenset({public_url, f"{public_url}/mcp", f"{public_url}/sse", f"{public_url}/v1"})
        self._ttl = min(ttl, CACHE_SECONDS)
        self._entries = entries
        # digest → (good until, decision). Insertion order is expiry order, near enough for eviction.
        self._accepted: dict[bytes, tuple[float, VerifiedToken]] = {}
        self._refused: dict[bytes, float] = {}
        self._flights: dict[bytes, asyncio.Task[VerifiedToken | None]] = {}
        self._noted: dict[str, float] = {}  # personal token → when its use was last written
        self._notes: set[asyncio.Task[None]] = set()

    def recall(
        self, headers: Collection[tuple[bytes, bytes]], *, alternates: Collection[bytes] = ()
    ) -> VerifiedToken | None:
        """The caller whom a decision in the cache admits; see `auth.middleware.Verifier`."""
        try:
            secret = read_bearer(headers, alternates=alternates)
        except (TokenMissing, TokenMalformed):
            return None
        cached = self._accepted.get(digest_of(secret))
        return cached[1] if cached is not None and cached[0] > self._clock.monotonic() else None

    async def verify(self, secret: str) -> VerifiedToken:
        """Find out who holds `secret`; called for every request and again for every message on an open stream.

        Raises:
            TokenInvalid: Unknown, expired, revoked, for another audience, or its user lost the membership.
            StorageUnavailable: Nothing fresh is cached and the database does not answer.
        """
        digest = digest_of(secret)
        now = self._clock.monotonic()
        cached = self._accepted.get(digest)
        if cached is not None and cached[0] > now:
            return cached[1]
        refused_until = self._refused.get(digest)
        if refused_until is not None and refused_until > now:
            raise TokenInvalid
        verified = await self._look_up_once(digest)
        if verified is None:
            raise TokenInvalid
        return verified

    async def verify_request(
        self,
        headers: Collection[tuple[bytes, bytes]],
        *,
        alternates: Collection[bytes] = (),
        address: str | None = None,
    ) -> VerifiedToken:
        """Find out who sent a request; see `auth.middleware.Verifier`. The address makes no difference to a token."""
        return await self.verify(read_bearer(headers, alternates=alternates))

    def forget(self, digest: bytes) -> None:
        """Drop what is known of one token (its revocation was pushed). A look-up in flight is not cached either."""
        self._accepted.pop(digest, None)
        self._refused.pop(digest, None)
        self._flights.pop(digest, None)

    def forget_all(self) -> None:
        """Drop every cached decision, when something changed that concerns unknown tokens (a membership, a user)."""
        self._accepted.clear()
        self._refused.clear()
        self._flights.clear()

    async def close(self) -> None:
        """Wait until the last notes of use are written."""
        await asyncio.gather(*self._notes)

    async def _look_up_once(self, digest: bytes) -> VerifiedToken | None:
        """Join the look-up of this digest, or start it: a stampede on one token is one query.

        The query is a task of its own, so that the request that started it can be cancelled without failing the rest.
        """
        flight = self._flights.get(digest)
        if flight is None:
            flight = self._flights[digest] = asyncio.create_task(self._look_up(digest))
            flight.add_done_callback(_mark_retrieved)
        return await asyncio.shield(flight)

    async def _look_up(self, digest: bytes) -> VerifiedToken | None:
        flight = asyncio.current_task()
        asked_at = self._clock.monotonic()
        try:
            grounds = await self._database.read(find_token_grounds, digest=digest, now=self._clock.now())
            verified = None if grounds is None else self._decide(grounds)
            if self._flights.get(digest) is flight:  # else `forget` came in between: the answer may be stale
                self._keep(digest, verified, asked_at)
            if verified is not None and verified.principal.kind is TokenKind.PERSONAL:
                self._note_use(verified.principal)
            return verified
        finally:
            if self._flights.get(digest) is flight:
                del self._flights[digest]

    def _decide(self, grounds: TokenGrounds) -> VerifiedToken | None:
        audience = self._public_url if grounds.audience is None else grounds.audience
        if audience not in self._audiences:
            return None
        principal = Principal(
            token_id=grounds.token_id,
            token_digest=grounds.digest,
            kind=grounds.kind,
            tenant_id=grounds.tenant.id,
            user_id=grounds.user_id,
            role=grounds.role,
            client_id=grounds.client_id,
            scopes=effective_scopes(grounds.scope, role=grounds.role, kind=grounds.kind),
            audience=audience,
            expires_at=grounds.expires_at,
        )
        return VerifiedToken(principal, grounds.tenant)

    def _keep(self, digest: bytes, verified: VerifiedToken | None, asked_at: float) -> None:
        """Remember a decision, counted from the moment the question was asked, and never past the token's expiry."""
        self._accepted.pop(digest, None)
        self._refused.pop(digest, None)
        if verified is None:
            _make_room(self._refused, self._entries)
            self._refused[digest] = asked_at + self._ttl
        else:
            _make_room(self._accepted, self._entries)
            left = (verified.principal.expires_at - self._clock.now()).total_seconds()
            self._accepted[digest] = (min(asked_at + self._ttl, self._clock.monotonic() + left), verified)

    def _note_use(self, principal: Principal) -> None:
        """Write down that a personal token is in use, now and then, behind the caller's back."""
        now = self._clock.monotonic()
        if self._noted.get(principal.token_id, -math.inf) > now - NOTE_SECONDS:
            return
        self._noted.pop(principal.token_id, None)
        _make_room(self._noted, self._entries)
        self._noted[principal.token_id] = now
        note = asyncio.create_task(self._write_note(principal))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _write_note(self, principal: Principal) -> None:
        with contextlib.suppress(StorageUnavailable):  # a lost note is no reason to trouble anybody
            await self._database.run(
                note_personal_token_use,
                tenant_id=principal.tenant_id,
                token_id=principal.token_id,
                now=self._clock.now(),
            )


def _make_room(table: dict[Any, Any], entries: int) -> None:
    while len(table) >= entries:
        del table[next(iter(table))]


def _mark_retrieved(flight: asyncio.Task[VerifiedToken | None]) -> None:
    """Read the outcome, so that a failure whose waiters are all gone is not reported as never retrieved."""
    if not flight.cancelled():
        flight.exception()
