"""The whole application in this process on a real database, with tenants, tokens and the platform key to manage it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from gateway_proxy.app import Gateway
from gateway_proxy.auth.passwords import PasswordHasher
from gateway_proxy.domain.audit import AuditEvent
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.domain.tenant import Naming, Role, Tenant, User
from gateway_proxy.provisioning.apply import apply
from gateway_proxy.provisioning.config_file import read_document
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.settings import Settings
from gateway_proxy.storage.sql.audit import list_audit_events
from gateway_proxy.storage.sql.backends import find_backend, put_backend
from gateway_proxy.storage.sql.database import Database
from tests.support.factories import make_access_token, make_personal_token, make_tenant, make_user
from tests.support.mcp_wire import Wire

PUBLIC_URL = "http://127.0.0.1:8000"
PLATFORM_KEY = "platform-key-for-tests-0123456789abcdef"
SECRET_KEY = "a-key-for-tests-that-is-long-enough-0001"


@dataclass
class AdminSite:
    """Clients of one or several workers; `clients[0]` is the one that is meant when none is named."""

    database: Database
    clients: list[httpx2.AsyncClient]
    acme: Tenant
    rival: Tenant
    ann: User
    admin: str
    member: str
    caller: str
    chatter: str

    async def ask(
        self, method: str, path: str, *, token: str = PLATFORM_KEY, tenant: str | None = "acme", body: Any = None
    ) -> httpx2.Response:
        """One request. With the platform key, in a tenant."""
        params = {"tenant": tenant} if token == PLATFORM_KEY and tenant is not None else None
        headers = {"Authorization": f"Bearer {token}"}
        content = body if isinstance(body, bytes) else None
        json = None if isinstance(body, bytes) else body
        return await self.clients[0].request(
            method, path, params=params, headers=headers, content=content, json=json, timeout=60
        )

    async def post(self, servers: Mapping[str, Any], *, token: str = PLATFORM_KEY) -> httpx2.Response:
        """POST /servers."""
        return await self.ask("POST", "/servers", token=token, body={"mcpServers": servers})

    async def names(self, *, tenant: str = "acme") -> list[str]:
        """GET /servers."""
        found: list[str] = (await self.ask("GET", "/servers", tenant=tenant)).json()["servers"]
        return found

    def wire(self, worker: int = 0) -> Wire:
        """An MCP client of acme at one of the workers."""
        client = self.clients[worker]
        http = httpx2.AsyncClient(
            transport=client._transport, base_url=PUBLIC_URL, headers={"Authorization": f"Bearer {self.caller}"}
        )
        return Wire(http, f"{PUBLIC_URL}/mcp")

    async def stored(self, name: str) -> Backend | None:
        """What the database holds of one of acme's servers."""
        return await self.database.read(find_backend, tenant_id=self.acme.id, name=name, keyring=Keyring([SECRET_KEY]))

    async def store(self, backend: Backend) -> None:
        """Put a row into acme as a configuration file would."""
        await self.database.run(
            put_backend,
            tenant_id=self.acme.id,
            backend=backend,
            keyring=Keyring([SECRET_KEY]),
            now=datetime.now(UTC),
        )

    async def configure(self, **tenant: Any) -> None:
        """Apply a configuration file that says this of acme."""
        desired = read_document({"tenants": {"acme": tenant}}, {}, folder=Path("/"))
        hasher = PasswordHasher(time_cost=1, memory_kib=64)
        await apply(self.database, Keyring([SECRET_KEY]), hasher, SystemClock(), desired)

    async def events(self) -> list[AuditEvent]:
        """Acme's audit trail, the newest first."""
        return await self.database.read(list_audit_events, tenant_id=self.acme.id, limit=100)


@asynccontextmanager
async def open_admin_site(
    database_url: str,
    folder: Path,
    *,
    redis_url: str | None = None,
    workers: int = 1,
    naming: Naming | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[AdminSite]:
    """Start `workers` applications on one database. Ann is an owner of acme, Bob a member; rival is another team."""
    given = {
        "GATEWAY_PUBLIC_URL": PUBLIC_URL,
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_DATA_DIR": str(folder),
        "GATEWAY_SECRET_KEYS": SECRET_KEY,
        "GATEWAY_ADMIN_API_KEY": PLATFORM_KEY,
        **({"GATEWAY_REDIS_URL": redis_url} if redis_url else {}),
        **(environment or {}),
    }
    settings = Settings.from_environment({name: value for name, value in given.items() if value})
    async with AsyncExitStack() as stack:
        database = Database(database_url)
        stack.push_async_callback(database.close)
        now = datetime.now(UTC) - timedelta(minutes=1)
        acme = await make_tenant(database, "acme", naming=naming, now=now)
        rival = await make_tenant(database, "rival", now=now)
        ann = await make_user(database, member_of=[acme], role=Role.OWNER, now=now)
        bob = await make_user(database, member_of=[acme], now=now)
        clients = []
        for _ in range(workers):
            gateway = Gateway(settings)
            await stack.enter_async_context(gateway.lifespan())
            http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=gateway), base_url=PUBLIC_URL)
            clients.append(await stack.enter_async_context(http))
        yield AdminSite(
            database=database,
            clients=clients,
            acme=acme,
            rival=rival,
            ann=ann,
            admin=await make_personal_token(database, tenant=acme, user=ann, scope="admin", now=now),
            member=await make_personal_token(database, tenant=acme, user=bob, scope="mcp openai admin", now=now),
            caller=await make_access_token(database, tenant=acme, user=ann, scope="mcp admin", now=now),
            chatter=await make_personal_token(database, tenant=acme, user=ann, scope="openai", now=now),
        )
