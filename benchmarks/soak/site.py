"""The installation under test: `serve` with two workers, PostgreSQL, Redis, a runner with real children, and people."""

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2

from benchmarks import wire
from benchmarks.capacity import workers_of
from benchmarks.gateway import Installation, make_tokens
from benchmarks.load import Answer, Connection, connect
from benchmarks.processes import Cores, command_of, free_port, running, start, tree_of, wait_for_answer
from benchmarks.stores import Stores
from benchmarks.subjects import HOST, Address, Kind, Subject
from tests.support.oauth_client import OAuthClient
from tests.support.visitor import Visitor

ROOT: Final = Path(__file__).parents[2]
PATH: Final = "/mcp"
TENANT: Final = "soak"
WORKERS: Final = 2
CRASHERS: Final = 4
FAMILIES: Final = 8
DROPPERS: Final = 2
"""How many of the people drop sessions: few, so that what they leave is at its bound before the base is taken."""

STREAMS_PER_PERSON: Final = 10
PLATFORM_KEY: Final = "soak-platform-key-0123456789-abcdefgh"
TOOLS: Final[dict[Kind, str]] = {"json": "json__echo", "sse": "sse__echo", "stdio": "work__work"}
_EMAIL: Final = "ann@example.com"
_PASSWORD: Final = "correct horse battery"
_SETTINGS: Final = {"GATEWAY_ADMIN_API_KEY": PLATFORM_KEY, "GATEWAY_ACCESS_TTL": "301"}
_CONFIG: Final = """
tenants:
  {tenant}:
    mcpServers:
      json: {{url: "http://127.0.0.1:{port}/json/mcp"}}
      sse: {{url: "http://127.0.0.1:{port}/sse/mcp"}}
      slow: {{url: "http://127.0.0.1:{port}/slow/mcp"}}
      work: {{command: "{python}", args: ["-m", "tests.support.children.worker"], cwd: "{root}"}}
"""
_CRASHER: Final = (
    '      crash{n}: {{command: "{python}", args: ["-m", "tests.support.children.crasher"], cwd: "{root}"}}\n'
)


@dataclass(frozen=True, slots=True)
class Family:
    """A client that a person let in: what a refresh needs, and the first refresh token."""

    client_id: str
    refresh_token: str


@dataclass(frozen=True, slots=True)
class Site:
    """A running gateway and those who use it."""

    port: int
    supervisor: int
    workers: tuple[int, ...]
    runner: int
    stores: Stores
    tokens: tuple[str, ...]
    log: Path

    @property
    def host(self) -> str:
        """What stands in the Host header."""
        return f"{HOST}:{self.port}"

    def headers(self, person: int, session: str = "") -> tuple[tuple[str, str], ...]:
        """Who somebody is, and in which session."""
        known = (("authorization", f"Bearer {self.tokens[person]}"),)
        return (*known, ("mcp-session-id", session)) if session else known

    def subject(self) -> Subject:
        """The gateway as the load generator knows it; the connections are spread over those who drop sessions."""

        def address(kind: Kind, number: int) -> Address:
            return Address(PATH, TOOLS[kind], self.headers(number % DROPPERS))

        return Subject("soak", self.port, self.supervisor, address)

    async def connect(self) -> Connection:
        """A connection, to whichever worker takes it."""
        return await connect(HOST, self.port)

    async def initialize(self, connection: Connection, person: int) -> str:
        """Open a session; its id."""
        answer = await connection.ask(wire.post(self.host, PATH, wire.initialize(), self.headers(person)))
        check(answer, 200, "initialize")
        return answer.headers[b"mcp-session-id"].decode()

    async def end(self, connection: Connection, person: int, session: str) -> None:
        """Delete a session."""
        answer = await connection.ask(wire.delete(self.host, PATH, self.headers(person, session)))
        check(answer, 204, "DELETE")


class Unexpected(Exception):
    """The gateway answered what it must not."""


def check(answer: Answer, status: int, what: str, holding: bytes = b"") -> None:
    """Raises Unexpected when the answer is another one."""
    if answer.status != status or holding not in answer.body:
        raise Unexpected(f"{what}: expected {status} with {holding!r}, got {answer.status} {answer.body[:300]!r}")


def write_config(folder: Path, backend_port: int, people: int) -> None:
    """One tenant, its backends, and its people."""
    python, root = sys.executable, ROOT
    text = _CONFIG.format(tenant=TENANT, port=backend_port, python=python, root=root)
    text += "".join(_CRASHER.format(n=number, python=python, root=root) for number in range(CRASHERS))
    text += f'users:\n  - {{email: {_EMAIL}, password: "{_PASSWORD}", tenants: {{{TENANT}: member}}}}\n'
    text += "".join(
        f"  - {{email: p{number}@example.com, tenants: {{{TENANT}: member}}}}\n" for number in range(people)
    )
    (folder / "gateway.yaml").write_text(text)


@contextlib.asynccontextmanager
async def running_site(folder: Path, stores: Stores, *, people: int) -> AsyncIterator[Site]:
    """Start the backend and the gateway, and make everybody's tokens."""
    cores = Cores.of_machine()
    everywhere = cores.subject | cores.rest
    with _backend(folder, everywhere) as backend_port:
        write_config(folder, backend_port, people)
        installation = Installation(folder, stores, backend_port, 0, everywhere, environment=_SETTINGS)
        with installation.running(workers=WORKERS) as (port, supervisor):
            tokens = (await make_tokens(stores, tenants=(TENANT,), people=people))[TENANT]
            runner = next(pid for pid in tree_of(supervisor) if " runner" in command_of(pid))
            workers = tuple(workers_of(supervisor))
            yield Site(port, supervisor, workers, runner, stores, tuple(tokens), installation.log)


@contextlib.contextmanager
def _backend(folder: Path, cores: frozenset[int]) -> Iterator[int]:
    port, log = free_port(), folder / "backend.log"
    with running(start([sys.executable, "-m", "benchmarks.backend", str(port)], cores, log)) as process:
        wait_for_answer(process, port, "", log)
        yield port


async def authorize_families(site: Site) -> list[Family]:
    """One client, let in so many times by one person: a token family each."""
    origin = f"http://{site.host}"
    families = []
    async with httpx2.AsyncClient(timeout=30) as http:
        client = OAuthClient(http, origin)
        await client.register()
        visitor = Visitor(http=http, email=_EMAIL, password=_PASSWORD, origin=origin)
        for _ in range(FAMILIES):
            response = await client.redeem(await client.authorize(visitor))
            if response.status_code != 200:
                raise Unexpected(f"no tokens for a code: {response.status_code} {response.text}")
            families.append(Family(client.client_id, response.json()["refresh_token"]))
    return families
