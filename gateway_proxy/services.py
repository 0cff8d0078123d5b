"""Opens and closes what the rooms of a worker share: Redis, outbound HTTP, sessions, relay. Decides nothing.

One asynchronous context manager, so that every exit, clean or not, closes everything in reverse order. What commands
need as well stands in `foundation`.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from redis.asyncio import Redis

from gateway_proxy.auth.apiman_probe import ApimanProbes
from gateway_proxy.auth.key_chain import KeyChain
from gateway_proxy.auth.outside_doors import StoredDoors
from gateway_proxy.auth.revocation_news import RevocationNews
from gateway_proxy.auth.token_verifier import TokenVerifier
from gateway_proxy.backends.endpoints import Endpoints
from gateway_proxy.backends.runner_http import RunnerHttp
from gateway_proxy.backends.upstreams import Upstreams
from gateway_proxy.domain.errors import SettingsInvalid
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.egress.http1_pool import open_tls_http, open_unix_http
from gateway_proxy.egress.policy import EgressPolicy
from gateway_proxy.foundation import Core, open_core
from gateway_proxy.limits.limiter import Limiter, open_limiter
from gateway_proxy.router.announcements import Announcements
from gateway_proxy.router.call import ToolCalls
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.router.directory import BackendDirectory
from gateway_proxy.router.edit_news import EditNews
from gateway_proxy.router.list_memory import RedisListMemory
from gateway_proxy.router.policy import Policy
from gateway_proxy.router.relay import Requests
from gateway_proxy.router.trials import Trials
from gateway_proxy.sealing.key_digests import KeyDigests
from gateway_proxy.sessions.opening import Crossing, open_crossing, open_session_store
from gateway_proxy.sessions.store import SessionStore
from gateway_proxy.settings import Settings, find_metrics_folder
from gateway_proxy.storage.redis.client import open_redis
from gateway_proxy.storage.sql.audit import add_audit_events
from gateway_proxy.storage.sql.housekeeping import Housekeeping
from gateway_proxy.telemetry.audit import AuditTrail
from gateway_proxy.telemetry.metrics import Metrics
from gateway_proxy.telemetry.pulse import keep_pulse

BROOM_SECONDS: Final = 2.0  # for the batch under way when the worker stops


@dataclass(frozen=True)
class Services:
    """What a serving worker needs besides."""

    core: Core
    redis: Redis | None
    limiter: Limiter
    metrics: Metrics
    audit: AuditTrail
    guard: EgressGuard
    sessions: SessionStore
    crossing: Crossing
    verifier: TokenVerifier
    key_chain: KeyChain
    revocations: RevocationNews
    relay: "Relay"


@dataclass(frozen=True)
class Relay:
    """The way to the backends: what is listed, the places where calls and other requests happen, the news of edits."""

    catalog: Catalog
    tool_calls: ToolCalls
    requests: Requests
    announcements: Announcements
    trials: Trials
    edit_news: EditNews


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Everything a worker shares. Nothing here waits for Redis, a backend or a provider to be there."""
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(settings))
        redis = None if settings.redis_url is None else open_redis(settings.redis_url)
        if redis is not None:
            stack.push_async_callback(redis.aclose)
        audit = await stack.enter_async_context(_audit_trail(core))
        sessions = await stack.enter_async_context(open_session_store(redis, core.clock))
        crossing = await stack.enter_async_context(open_crossing(redis, core.clock))
        verifier = TokenVerifier(core.database, core.clock, public_url=settings.public_url)
        stack.push_async_callback(verifier.close)
        revocations = RevocationNews(redis, verifier)
        await revocations.start()
        stack.push_async_callback(revocations.stop)
        guard, metrics = EgressGuard(_egress_policy(settings)), Metrics(find_metrics_folder())
        limiter = open_limiter(redis, core.clock)
        key_chain = await stack.enter_async_context(_key_chain(core, verifier, guard, limiter))
        relay = await stack.enter_async_context(_relay(core, redis, guard, sessions, audit, metrics))
        await stack.enter_async_context(_housekeeping(core))
        await stack.enter_async_context(_pulse(metrics))
        yield Services(
            core=core,
            redis=redis,
            limiter=limiter,
            metrics=metrics,
            audit=audit,
            guard=guard,
            sessions=sessions,
            crossing=crossing,
            verifier=verifier,
            key_chain=key_chain,
            revocations=revocations,
            relay=relay,
        )


def _egress_policy(settings: Settings) -> EgressPolicy:
    try:
        return EgressPolicy.parse(settings.egress_allow)
    except ValueError as error:
        raise SettingsInvalid((str(error),)) from None


@asynccontextmanager
async def _audit_trail(core: Core) -> AsyncIterator[AuditTrail]:
    trail = AuditTrail(lambda events: core.database.run(add_audit_events, events=events), core.clock)
    writer = asyncio.create_task(trail.run(), name="audit-trail")
    try:
        yield trail
    finally:
        trail.stop()
        await writer


@asynccontextmanager
async def _key_chain(
    core: Core, verifier: TokenVerifier, guard: EgressGuard, limiter: Limiter
) -> AsyncIterator[KeyChain]:
    probes = ApimanProbes(guard, core.clock)
    doors = StoredDoors(core.database, core.keyring, core.clock)
    digests = KeyDigests(core.keyring)
    try:
        yield KeyChain(verifier, doors, probes, limiter, digests, public_url=core.settings.public_url)
    finally:
        await probes.close()


@asynccontextmanager
async def _housekeeping(core: Core) -> AsyncIterator[None]:
    broom = Housekeeping(core.database, core.clock, refresh_grace=core.settings.refresh_grace)
    task = asyncio.create_task(broom.run(), name="housekeeping")
    try:
        yield
    finally:
        broom.stop()
        await asyncio.wait({task}, timeout=BROOM_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _pulse(metrics: Metrics) -> AsyncIterator[None]:
    task = asyncio.create_task(keep_pulse(metrics), name="pulse")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _relay(
    core: Core,
    redis: Redis | None,
    guard: EgressGuard,
    sessions: SessionStore,
    audit: AuditTrail,
    metrics: Metrics,
) -> AsyncIterator[Relay]:
    directory = BackendDirectory.of_database(core.database, core.keyring, core.clock)
    upstreams = Upstreams(Endpoints(guard, _open_runner(core.settings), core.clock), sessions, core.clock)
    memory = None if redis is None else RedisListMemory(redis, core.clock)
    catalog = Catalog(directory, upstreams, core.clock, memory)
    policy = Policy()
    calls = ToolCalls(catalog, upstreams, policy=policy, audit=audit, metrics=metrics, clock=core.clock)
    requests = Requests(catalog, upstreams, policy=policy, audit=audit, metrics=metrics, clock=core.clock)
    news = EditNews(redis, directory, catalog)
    await news.start()
    try:
        yield Relay(catalog, calls, requests, Announcements(catalog, upstreams), Trials(upstreams), news)
    finally:
        await news.stop()
        await catalog.close()
        await upstreams.close()
        await directory.close()


def _open_runner(settings: Settings) -> RunnerHttp | None:
    """The runner that hosts stdio and SSE servers, over its unix socket or over TLS with both certificates."""
    url, key = settings.runner_url, settings.runner_key
    if url is None or key is None:
        return None
    if url.startswith("unix:"):
        return RunnerHttp(open_unix_http(url.removeprefix("unix:")), key=key)
    parts = urlsplit(url)
    try:
        tls = ssl.create_default_context(cafile=settings.runner_tls_ca)
        if settings.runner_tls_cert is not None:
            tls.load_cert_chain(settings.runner_tls_cert, settings.runner_tls_key)
    except (OSError, ssl.SSLError):
        problem = "GATEWAY_RUNNER_TLS_CA, _CERT, _KEY: expected PEM files that can be read and fit together"
        raise SettingsInvalid((problem,)) from None
    return RunnerHttp(open_tls_http(parts.hostname or "", parts.port or 443, tls=tls), key=key)
