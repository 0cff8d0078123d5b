"""Rows for tests: a tenant, a user, a token. Each returns what a test needs to hold, with unique names by default."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import insert
from sqlalchemy.orm import Session

from gateway_proxy.domain.ids import new_client_id, new_id, new_secret
from gateway_proxy.domain.oauth import PersonalToken
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.domain.tenant import Naming, Role, Tenant, User
from gateway_proxy.storage.sql import personal_tokens, tables, tenants, users
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import START

HOUR: Final = timedelta(hours=1)


async def make_tenant(
    database: Database,
    slug: str | None = None,
    *,
    name: str = "Acme",
    naming: Naming | None = None,
    now: datetime = START,
) -> Tenant:
    """A tenant of its own."""
    identifier = new_id()
    tenant = Tenant(id=identifier, slug=slug or f"t-{identifier[:12]}", name=name, naming=naming or Naming())
    await database.run(tenants.add_tenant, tenant=tenant, now=now)
    return tenant


async def make_user(
    database: Database,
    email: str | None = None,
    *,
    member_of: Sequence[Tenant] = (),
    role: Role = Role.MEMBER,
    password_hash: str | None = None,
    now: datetime = START,
) -> User:
    """A user, member of the given tenants in one role."""
    identifier = new_id()
    user = User(id=identifier, email=email or f"{identifier[:12]}@example.com", name="Ann Example")

    def add(session: Session) -> None:
        users.add_user(session, user=user, password_hash=password_hash, now=now)
        for tenant in member_of:
            users.put_membership(session, tenant_id=tenant.id, user_id=user.id, role=role, now=now)

    await database.run(add)
    return user


async def make_personal_token(
    database: Database,
    *,
    tenant: Tenant,
    user: User,
    scope: str = "mcp openai",
    now: datetime = START,
    expires_at: datetime | None = None,
) -> str:
    """A personal access token; returns the secret."""
    secret = new_secret("gw_pat_")
    token = PersonalToken(
        id=new_id(),
        tenant_id=tenant.id,
        user_id=user.id,
        name="laptop",
        scope=scope,
        created_at=now,
        expires_at=expires_at or now + 24 * HOUR,
        last_used_at=None,
        revoked_at=None,
    )
    await database.run(
        personal_tokens.add_personal_token, tenant_id=token.tenant_id, digest=digest_of(secret), token=token
    )
    return secret


async def make_access_token(
    database: Database,
    *,
    tenant: Tenant,
    user: User,
    scope: str = "mcp",
    audience: str = "http://127.0.0.1:8000/mcp",
    client_id: str | None = None,
    now: datetime = START,
    expires_at: datetime | None = None,
) -> str:
    """An access token with the client, grant and family behind it; returns the secret."""
    secret = new_secret("gw_at_")

    def add(session: Session) -> None:
        client = client_id or add_client(session, now=now)
        family = add_family(
            session, tenant=tenant, user=user, client_id=client, scope=scope, audience=audience, now=now
        )
        session.execute(
            insert(tables.access_tokens).values(
                id=new_id(),
                digest=digest_of(secret),
                family_id=family,
                tenant_id=tenant.id,
                user_id=user.id,
                client_id=client,
                scope=scope,
                audience=audience,
                issued_at=now,
                expires_at=expires_at or now + HOUR,
            )
        )

    await database.run(add)
    return secret


def add_client(session: Session, *, now: datetime = START, expires_at: datetime | None = None) -> str:
    """A registered public client; returns its id."""
    client_id = new_client_id()
    session.execute(
        insert(tables.clients).values(
            id=client_id,
            kind="registered",
            name="A client",
            redirect_uris=["https://client.example/callback"],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            auth_method="none",
            application_type="web",
            scope="mcp",
            created_at=now,
            expires_at=expires_at,
        )
    )
    return client_id


def add_family(
    session: Session,
    *,
    tenant: Tenant,
    user: User,
    client_id: str,
    scope: str = "mcp",
    audience: str = "http://127.0.0.1:8000/mcp",
    now: datetime = START,
) -> str:
    """A grant and a token family under it; returns the family's id."""
    owner = {"tenant_id": tenant.id, "user_id": user.id, "client_id": client_id, "scope": scope, "created_at": now}
    grant_id, family_id = new_id(), new_id()
    session.execute(insert(tables.grants).values(id=grant_id, redirect_host="client.example", **owner))
    session.execute(
        insert(tables.token_families).values(id=family_id, grant_id=grant_id, resource=audience, generation=0, **owner)
    )
    return family_id
