"""People, teams and tokens for tests of what people and their clients may do; written by the storage functions."""

from dataclasses import dataclass
from datetime import timedelta

from gateway_proxy.auth.passwords import PasswordHasher
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.ids import new_id, new_secret
from gateway_proxy.domain.oauth import AccessToken, Client, Grant, PersonalToken, TokenFamily
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.domain.tenant import Role, Tenant, User
from gateway_proxy.storage.sql.clients import add_client
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.grants import add_grant
from gateway_proxy.storage.sql.personal_tokens import add_personal_token
from gateway_proxy.storage.sql.tenants import add_tenant
from gateway_proxy.storage.sql.tokens import add_access_token, add_family
from gateway_proxy.storage.sql.users import add_user, put_membership

PUBLIC_URL = "https://gw.example"


def quick_hasher() -> PasswordHasher:
    """The real hasher with the smallest cost there is."""
    return PasswordHasher(time_cost=1, memory_kib=8)


@dataclass(frozen=True)
class IssuedAccess:
    """An access token with everything it stands on."""

    secret: str
    token: AccessToken
    grant: Grant


@dataclass(frozen=True)
class People:
    """Adds rows to a database, at the clock's time."""

    database: Database
    clock: Clock

    async def tenant(self, slug: str = "acme", name: str | None = None) -> Tenant:
        """A team."""
        tenant = Tenant(id=new_id(), slug=slug, name=name or slug.capitalize())
        await self.database.run(add_tenant, tenant=tenant, now=self.clock.now())
        return tenant

    async def user(self, email: str = "ann@example.com", *, password: str | None = None, name: str = "Ann") -> User:
        """A person, with a password or without."""
        user = User(id=new_id(), email=email, name=name)
        password_hash = None if password is None else await quick_hasher().hash(password)
        await self.database.run(add_user, user=user, password_hash=password_hash, now=self.clock.now())
        return user

    async def join(self, user: User, tenant: Tenant, role: Role = Role.MEMBER) -> None:
        """Make the person a member of the team."""
        await self.database.run(put_membership, tenant_id=tenant.id, user_id=user.id, role=role, now=self.clock.now())

    async def personal_token(
        self, user: User, tenant: Tenant, *, scope: str = "mcp openai", days: int = 30, name: str = "script"
    ) -> tuple[str, PersonalToken]:
        """A personal token and its secret."""
        secret = new_secret("gw_pat_")
        now = self.clock.now()
        token = PersonalToken(
            id=new_id(),
            tenant_id=tenant.id,
            user_id=user.id,
            name=name,
            scope=scope,
            created_at=now,
            expires_at=now + timedelta(days=days),
            last_used_at=None,
            revoked_at=None,
        )
        await self.database.run(add_personal_token, tenant_id=token.tenant_id, digest=digest_of(secret), token=token)
        return secret, token

    async def client(self, name: str = "Claude", redirect_uri: str = "https://client.example/callback") -> Client:
        """A registered public client."""
        client = Client(
            id=f"gwc_{new_id()}",
            kind="registered",
            name=name,
            redirect_uris=(redirect_uri,),
            grant_types=("authorization_code", "refresh_token"),
            response_types=("code",),
            auth_method="none",
            application_type="web",
            scope="mcp openai",
            client_uri=None,
            secret_digest=None,
            created_at=self.clock.now(),
            expires_at=None,
        )
        await self.database.run(add_client, client=client)
        return client

    async def grant(self, user: User, tenant: Tenant, client: Client, *, scope: str = "mcp offline_access") -> Grant:
        """A consent on record."""
        grant = Grant(
            id=new_id(),
            tenant_id=tenant.id,
            user_id=user.id,
            client_id=client.id,
            redirect_host="client.example",
            scope=scope,
            created_at=self.clock.now(),
            revoked_at=None,
        )
        await self.database.run(add_grant, grant=grant)
        return grant

    async def access_token(
        self,
        user: User,
        tenant: Tenant,
        *,
        scope: str = "mcp",
        audience: str = f"{PUBLIC_URL}/mcp",
        seconds: int = 3600,
    ) -> IssuedAccess:
        """An access token as the token endpoint leaves it, with client, grant and family."""
        client = await self.client()
        grant = await self.grant(user, tenant, client)
        now = self.clock.now()
        owner = {"tenant_id": tenant.id, "user_id": user.id, "client_id": client.id}
        family = TokenFamily(
            id=new_id(),
            **owner,
            grant_id=grant.id,
            scope=scope,
            resource=audience,
            generation=1,
            created_at=now,
            revoked_at=None,
        )
        await self.database.run(add_family, family=family)
        secret = new_secret("gw_at_")
        token = AccessToken(
            id=new_id(),
            family_id=family.id,
            **owner,
            scope=scope,
            audience=audience,
            issued_at=now,
            expires_at=now + timedelta(seconds=seconds),
            revoked_at=None,
        )
        await self.database.run(add_access_token, token=token, digest=digest_of(secret))
        return IssuedAccess(secret, token, grant)
