"""What a gateway holds, seen from outside: /proc, its own /metrics, PostgreSQL and Redis. Nothing is judged here."""

import contextlib
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
from redis.asyncio import Redis

from benchmarks.capacity import MIB, workers_of
from benchmarks.processes import resident_bytes, tree_of
from benchmarks.soak.site import PLATFORM_KEY, Site, Unexpected
from tests.support.postgres import driver_url

KEYS: Final = "Redis keys: "
ROWS: Final = "rows: "
DESCRIPTORS: Final = "descriptors of"
TASKS: Final = "tasks of the workers"
UNWRITTEN: Final = "calls without an audit row"
CLIENTS: Final = "connections of clients"
TABLES: Final = ("authorization_codes", "access_tokens", "refresh_tokens", "token_families", "browser_sessions")
"""Those whose rows expire."""

_PREFIX: Final = "gw:1:"
_CLIENT: Final = "gateway-proxy"

Reading = dict[str, float]
"""By name of the figure, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Looks at one site."""

    site: Site
    database: asyncpg.Connection
    redis: Redis

    async def read(self) -> Reading:
        """Everything, at this moment. The processes come last, so that looking is not seen."""
        stores = {**await self._metrics(), **await self._postgres(), **await self._redis()}
        return {**self._processes(stores), **stores}

    async def _metrics(self) -> Reading:
        connection = await self.site.connect()
        head = f"GET /metrics HTTP/1.1\r\nhost: {self.site.host}\r\nauthorization: Bearer {PLATFORM_KEY}\r\n\r\n"
        page = (await connection.ask(head.encode())).body.decode()
        connection.close()
        rows = await self.database.fetchval("SELECT count(*) FROM audit_events WHERE event = 'tool.called'")
        return {
            TASKS: _total(page, "gateway_tasks"),
            UNWRITTEN: _total(page, "gateway_tool_calls_total") - rows,
        }

    async def _postgres(self) -> Reading:
        connections = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()"
        )
        found = {"PostgreSQL connections": float(await self.database.fetchval(connections, _CLIENT))}
        for table in TABLES:
            found[ROWS + table] = await self.database.fetchval(f"SELECT count(*) FROM {table}")
        return found

    async def _redis(self) -> Reading:
        clients = [each for each in await self.redis.client_list() if each["name"] == _CLIENT]
        kinds: Counter[str] = Counter()
        for_ever = 0
        async for key in self.redis.scan_iter(match=_PREFIX + "*", count=1000):
            kinds[_kind_of(key.decode())] += 1
            for_ever += await self.redis.pttl(key) == -1
        found = {"Redis connections": float(len(clients)), "Redis keys without a time to live": float(for_ever)}
        return found | {KEYS + kind: float(kinds[kind]) for kind in sorted(kinds)}

    def _processes(self, stores: Reading) -> Reading:
        site = self.site
        self._check_alive()
        tree = tree_of(site.supervisor)
        pooled = stores["PostgreSQL connections"] + stores["Redis connections"]
        named = {f"worker {number}": pid for number, pid in enumerate(site.workers, 1)}
        named |= {"runner": site.runner, "supervisor": site.supervisor}
        found = {f"memory of {name}, MiB": resident_bytes(pid) / MIB for name, pid in named.items()}
        return found | {
            "descriptors of the workers, pools aside": _descriptors(site.workers) - pooled,
            "descriptors of the runner": float(_descriptors([site.runner])),
            "descriptors of the supervisor": float(_descriptors([site.supervisor])),
            CLIENTS: float(_client_connections(site.port)),
            "threads of the workers": float(_threads(site.workers)),
            "threads of the runner": float(_threads([site.runner])),
            "processes below the runner": float(len(tree_of(site.runner)) - 1),
            "processes in all": float(len(tree)),
            "zombies": float(sum(map(_is_zombie, tree))),
        }

    def _check_alive(self) -> None:
        living = workers_of(self.site.supervisor)
        if sorted(living) != sorted(self.site.workers):
            raise Unexpected(f"a worker has died: {self.site.workers} were there, now {living}")
        if not Path(f"/proc/{self.site.runner}").exists():
            raise Unexpected("the runner has died")


@contextlib.asynccontextmanager
async def observing(site: Site) -> AsyncIterator[Observer]:
    """With connections of its own to the stores."""
    database = await asyncpg.connect(driver_url(site.stores.database_url))
    redis: Redis = Redis.from_url(site.stores.redis_url)
    try:
        yield Observer(site, database, redis)
    finally:
        await redis.aclose()
        await database.close()


def _total(page: str, metric: str) -> float:
    """The sum over all labels."""
    pattern = re.compile(rf"^{metric}(?:{{.*}})? (\S+)$", re.MULTILINE)
    return sum(map(float, pattern.findall(page)))


def _kind_of(key: str) -> str:
    """The type of a key of ours: `gw:1:{tenant}:type:…`."""
    return key.partition("}:")[2].partition(":")[0]


def _descriptors(pids: Sequence[int]) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def _client_connections(port: int) -> int:
    """Established connections to this port of loopback, by the kernel's table."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:])
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def _threads(pids: Sequence[int]) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids)


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"
    return False
