"""This gateway under test: `serve` with PostgreSQL, Redis, authentication, audit and metrics, as an operator has it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from benchmarks.chat.measure import ChatSubject
from benchmarks.processes import free_port, running, start, wait_for_answer
from benchmarks.stores import Stores
from benchmarks.subjects import Address, Kind, Subject
from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.domain.ids import new_id, new_secret
from gateway_proxy.domain.oauth import PersonalToken
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.personal_tokens import add_personal_token
from gateway_proxy.storage.sql.tenants import find_tenant_by_slug
from gateway_proxy.storage.sql.users import find_user_by_email

PEOPLE: Final = 20
SESSIONS_PER_PERSON: Final = 50
NAME: Final = "this gateway"
_CONFIG: Final = """
tenants:
  bench:
    mcpServers:
      json: {{url: "http://127.0.0.1:{port}/json/mcp"}}
      sse: {{url: "http://127.0.0.1:{port}/sse/mcp"}}
  long:
    mcpServers:
      list: {{url: "http://127.0.0.1:{port}/list/mcp"}}
  chat:
    mcpServers:
      json: {{url: "http://127.0.0.1:{port}/json/mcp"}}
    providers:
      default: {{base_url: "http://127.0.0.1:{provider}/v1"}}
users:
"""
_PERSON: Final = "  - {{email: p{number}@example.com, tenants: {{bench: member, long: member, chat: member}}}}\n"


@dataclass(frozen=True, slots=True)
class Installation:
    """A folder with a configuration, and the stores; gateways are started on it, from the environment of `python`."""

    folder: Path
    stores: Stores
    backend_port: int
    provider_port: int
    cores: frozenset[int]
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings besides the usual ones."""

    def write_config(self) -> None:
        """Three tenants: one that is called, one with 500 tools, one that chats; everybody is a member of all."""
        people = "".join(_PERSON.format(number=number) for number in range(PEOPLE))
        (self.folder / "gateway.yaml").write_text(
            _CONFIG.format(port=self.backend_port, provider=self.provider_port) + people
        )

    def start(self, port: int, *, workers: int = 1, cores: frozenset[int] | None = None) -> subprocess.Popen[bytes]:
        """Start `serve`; it is not ready yet."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = kept | {
            "GATEWAY_DATA_DIR": str(self.folder / f"data-{port}"),
            "GATEWAY_PORT": str(port),
            "GATEWAY_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "GATEWAY_DATABASE_URL": self.stores.database_url,
            "GATEWAY_REDIS_URL": self.stores.redis_url,
            "GATEWAY_SECRET_KEYS": "bench-secret-key-0123456789-abcdefgh",
            "GATEWAY_WORKERS": str(workers),
            **self.environment,
        }
        command = [self.python, "-m", "gateway_proxy", "serve", "--config", str(self.folder / "gateway.yaml")]
        return start(command, cores or self.cores, self.log, environment)

    @property
    def log(self) -> Path:
        """What the gateways of this installation had to say."""
        return self.folder / "gateway.log"

    @contextlib.contextmanager
    def running(self, *, workers: int = 1, cores: frozenset[int] | None = None) -> Iterator[tuple[int, int]]:
        """A gateway that is ready; its port and the pid of its supervisor."""
        port = free_port()
        with running(self.start(port, workers=workers, cores=cores)) as process:
            wait_for_answer(process, port, "/ready", self.log)
            yield port, process.pid


async def make_tokens(
    stores: Stores, *, tenants: Sequence[str] = ("bench", "long", "chat"), people: int = PEOPLE
) -> dict[str, list[str]]:
    """A personal token per person and tenant, by tenant."""
    database, clock = Database(stores.database_url), SystemClock()
    tokens: dict[str, list[str]] = {}
    try:
        for slug in tenants:
            tenant = await database.read(find_tenant_by_slug, slug=slug)
            assert tenant is not None
            for number in range(people):
                user = await database.read(find_user_by_email, email=f"p{number}@example.com")
                assert user is not None
                secret, now = new_secret("gw_pat_"), clock.now()
                token = PersonalToken(
                    id=new_id(),
                    tenant_id=tenant.id,
                    user_id=user.id,
                    name="bench",
                    scope="mcp openai",
                    created_at=now,
                    expires_at=now + timedelta(hours=2),
                    last_used_at=None,
                    revoked_at=None,
                )
                await database.run(add_personal_token, tenant_id=token.tenant_id, digest=digest_of(secret), token=token)
                tokens.setdefault(slug, []).append(secret)
    finally:
        await database.close()
    return tokens


def gateway_subject(name: str, port: int, pid: int, tokens: dict[str, list[str]]) -> Subject:
    """The gateway as a row; connections are spread over the people, who may hold 64 sessions each."""

    def address(kind: Kind, number: int) -> Address:
        held = tokens["long" if kind == "list" else "bench"]
        token = held[number // SESSIONS_PER_PERSON % len(held)]
        return Address("/mcp", f"{kind}__echo", (("authorization", f"Bearer {token}"),))

    return Subject(name, port, pid, address)


def chatting_gateway(name: str, port: int, pid: int, tokens: dict[str, list[str]]) -> ChatSubject:
    """The same gateway as a row of the chats."""
    return ChatSubject(name, port, pid, tokens["chat"][0], runs_tools=True)
