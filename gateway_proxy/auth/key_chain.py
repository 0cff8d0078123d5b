"""Who calls /v1: issued tokens, static keys, and callers that an Apiman gateway vouches for (compatibility D13–D15).

For no other surface: a key that we did not issue opens neither /mcp nor /admin. Its tenant is the one in whose
configuration it stands; a credential that would stand for two tenants stands for none.
"""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from gateway_proxy.auth.apiman_probe import ApimanProbes
from gateway_proxy.auth.bearer import read_bearer
from gateway_proxy.auth.outside_doors import OutsideDoors, StoredDoors
from gateway_proxy.auth.token_verifier import TokenVerifier, VerifiedToken
from gateway_proxy.domain.errors import TokenInvalid, TokenMissing
from gateway_proxy.domain.ids import SECRET_PREFIXES
from gateway_proxy.domain.outside_keys import Apiman
from gateway_proxy.domain.principal import Principal, Scope, TokenKind
from gateway_proxy.domain.role import Role
from gateway_proxy.domain.secrets import is_same_secret
from gateway_proxy.domain.tenant import Tenant
from gateway_proxy.limits.limiter import Limiter
from gateway_proxy.limits.networks import network_of
from gateway_proxy.sealing.key_digests import KeyDigests
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

LIMIT: Final = "outside-key"
TRIES: Final = 100
WINDOW_SECONDS: Final = 60.0
SEEN_KEPT: Final = 10_000
_NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,28}\Z")

Headers = Collection[tuple[bytes, bytes]]


class KeyChain:
    """The verifier of /v1. A token of ours never reaches the keys, so it costs what it costs elsewhere."""

    def __init__(
        self,
        tokens: TokenVerifier,
        doors: StoredDoors,
        probes: ApimanProbes,
        limiter: Limiter,
        digests: KeyDigests,
        *,
        public_url: str,
    ) -> None:
        self._tokens = tokens
        self._doors = doors
        self._probes = probes
        self._limiter = limiter
        self._digests = digests
        self._audience = f"{public_url}/v1"
        self._seen: dict[bytes, None] = {}  # credentials that were good: they are never counted as tries

    def recall(self, headers: Headers, *, alternates: Collection[bytes] = ()) -> VerifiedToken | None:
        """The holder of a token of ours that is known already; see `auth.middleware.Verifier`."""
        return self._tokens.recall(headers, alternates=alternates)

    async def verify_request(
        self, headers: Headers, *, alternates: Collection[bytes] = (), address: str | None = None
    ) -> VerifiedToken:
        """Find out who sent a request; see `auth.middleware.Verifier`.

        Raises:
            TokenMissing, TokenMalformed, TokenInvalid: As for a token.
            RateLimited: Too many unknown keys came from this address.
            StorageUnavailable: The database does not answer.
        """
        headers = tuple(headers)
        try:
            secret = read_bearer(headers, alternates=alternates)
        except TokenMissing:
            secret = None
        if secret is not None and secret.startswith(SECRET_PREFIXES):
            return await self._tokens.verify(secret)
        doors = await self._doors.current()
        written = _trusted_values(headers, doors)
        if secret is None and not written:
            raise TokenMissing
        if not doors:
            raise TokenInvalid
        return await self._verify_key(secret, written, doors, address)

    async def _verify_key(
        self, secret: str | None, written: Mapping[str, str], doors: OutsideDoors, address: str | None
    ) -> VerifiedToken:
        """Tries are counted before they are judged: whoever guesses gets no answer beyond the limit, right or wrong."""
        seen = self._digests.current("\0".join((secret or "", *written.values())))
        if seen not in self._seen:
            await self._limiter.hit(LIMIT, network_of(address), limit=TRIES, window=WINDOW_SECONDS)
        found = await self._judge(secret, written, doors)
        if found is None:
            self._seen.pop(seen, None)
            raise TokenInvalid
        if seen not in self._seen:
            await self._limiter.reset(LIMIT, network_of(address))
            while len(self._seen) >= SEEN_KEPT:
                del self._seen[next(iter(self._seen))]
            self._seen[seen] = None
        return found

    async def _judge(self, secret: str | None, written: Mapping[str, str], doors: OutsideDoors) -> VerifiedToken | None:
        if secret is not None:
            for digest in self._digests.all(secret):
                if digest in doors.static:
                    key, tenant = doors.static[digest]
                    return self._admitted(tenant, key.id, digest, _user_of_key(key.name))
        trusted = [tenant for apiman, tenant in doors.headers if _is_marked(written, apiman)]
        if not trusted and secret is not None:
            digest = self._digests.current(secret)
            trusted = [
                tenant
                for apiman, tenant in doors.probes
                if await self._probes.is_vouched_for(secret, digest, apiman, tenant)
            ]
        if len(trusted) > 1:
            log.warning("key_ambiguous", tenants=sorted(tenant.slug for tenant in trusted))
        if len(trusted) != 1:
            return None
        digest = self._digests.current(secret or next(iter(written.values())))
        return self._admitted(trusted[0], digest.hex()[:32], digest, f"apiman:{digest.hex()[:24]}")

    def _admitted(self, tenant: Tenant, token_id: str, digest: bytes, user_id: str) -> VerifiedToken:
        principal = Principal(
            token_id=token_id,
            token_digest=digest,
            kind=TokenKind.STATIC,
            tenant_id=tenant.id,
            user_id=user_id,
            role=Role.MEMBER,
            client_id=None,
            scopes=frozenset({Scope.OPENAI}),
            audience=self._audience,
            expires_at=_NEVER,
        )
        return VerifiedToken(principal, tenant)


def _trusted_values(headers: tuple[tuple[bytes, bytes], ...], doors: OutsideDoors) -> Mapping[str, str]:
    """What stands in the headers that a gateway in front would add. One that stands twice does not count."""
    values: dict[str, str] = {}
    for name in sorted({(apiman.header or "").lower() for apiman, _ in doors.headers}):
        found = [value for sent, value in headers if sent == name.encode("ascii")]
        if len(found) == 1:
            values[name] = found[0].decode("latin-1")
    return values


def _is_marked(written: Mapping[str, str], apiman: Apiman) -> bool:
    """Whether the header holds the secret that only the gateway in front knows; compared in constant time."""
    value = written.get((apiman.header or "").lower())
    return value is not None and bool(apiman.secret) and is_same_secret(value, apiman.secret)


def _user_of_key(name: str) -> str:
    """What stands for the user in records and in keys of what is kept for a caller: at most 32 characters."""
    if _PLAIN_NAME.match(name):
        return f"key:{name}"
    stem = re.sub(r"[^A-Za-z0-9._@-]", "-", name)[:19]
    return f"key:{stem}~{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
