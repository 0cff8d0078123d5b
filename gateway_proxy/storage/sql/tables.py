"""The schema, as SQLAlchemy Core tables. Nothing but columns and constraints may stand here.

Conventions: ids are 32 hex characters; `digest` columns hold SHA-256; `sealed_*` columns hold ciphertext of
`gateway_proxy.sealing`, bound to tenant, table, column and row; every instant is UTC. Rows owned by a tenant have a
`tenant_id` that is NOT NULL, and every function on them takes `tenant_id` as a keyword.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """A UTC instant. SQLite keeps no zone, so it is put back on the way out and a naive value is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        instant: datetime = value
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _id() -> Column[str]:
    return Column("id", String(32), primary_key=True)


def _tenant() -> Column[str]:
    return Column("tenant_id", String(32), ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False)


def _user() -> Column[str]:
    return Column("user_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), nullable=False)


def _client() -> Column[str]:
    return Column("client_id", String(2048), ForeignKey("clients.id", ondelete="CASCADE"), nullable=False)


def _family() -> Column[str]:
    return Column("family_id", String(32), ForeignKey("token_families.id", ondelete="CASCADE"), nullable=False)


tenants = Table(
    "tenants",
    metadata,
    _id(),
    Column("slug", String(63), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("naming_prefix", String(10), nullable=False),
    Column("naming_separator", String(2), nullable=False),
    Column("created_at", Instant, nullable=False),
)

users = Table(
    "users",
    metadata,
    _id(),
    Column("email", String(254), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("password_hash", String(255), nullable=True),
    Column("disabled_at", Instant, nullable=True),
    Column("created_at", Instant, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("tenant_id", String(32), ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(10), nullable=False),
    Column("created_at", Instant, nullable=False),
    CheckConstraint("role IN ('owner', 'admin', 'member')", name="role"),
    Index(None, "user_id"),
)

backends = Table(
    "backends",
    metadata,
    _id(),
    _tenant(),
    Column("name", String(31), nullable=False),
    Column("transport", String(20), nullable=False),
    Column("origin", String(10), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("definition", JSON, nullable=False),  # command, cwd, isolation, timeout, encoding…
    Column("sealed_url", LargeBinary, nullable=True),  # URLs and arguments carry credentials as often as headers do
    Column("sealed_args", LargeBinary, nullable=True),
    Column("sealed_env", LargeBinary, nullable=True),
    Column("sealed_headers", LargeBinary, nullable=True),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("tenant_id", "name"),
)

providers = Table(
    "providers",
    metadata,
    _id(),
    _tenant(),
    Column("name", String(64), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("origin", String(10), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("timeout", Float, nullable=False),
    Column("sealed_api_key", LargeBinary, nullable=True),
    Column("sealed_headers", LargeBinary, nullable=True),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("tenant_id", "name"),
)

assistants = Table(
    "assistants",
    metadata,
    _id(),
    _tenant(),
    Column("name", String(64), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("origin", String(10), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("definition", JSON, nullable=False),  # description, system_prompt, mcp_servers, sampling parameters, options
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("tenant_id", "name"),
)

clients = Table(
    "clients",
    metadata,
    Column("id", String(2048), primary_key=True),  # a CIMD client's id is a URL
    Column("kind", String(20), nullable=False),
    Column("name", String(100), nullable=False),
    Column("redirect_uris", JSON, nullable=False),
    Column("grant_types", JSON, nullable=False),
    Column("response_types", JSON, nullable=False),
    Column("auth_method", String(30), nullable=False),
    Column("application_type", String(10), nullable=False),
    Column("scope", Text, nullable=False),
    Column("client_uri", Text, nullable=True),
    Column("secret_digest", LargeBinary(32), nullable=True),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=True),
    Index(None, "expires_at"),
)

grants = Table(
    "grants",
    metadata,
    _id(),
    _tenant(),
    _user(),
    _client(),
    Column("redirect_host", String(255), nullable=False),
    Column("scope", String(200), nullable=False),  # sorted, space separated
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant, nullable=True),
    Index(None, "user_id", "client_id"),
    Index(None, "tenant_id"),
    Index(None, "client_id"),
)

token_families = Table(
    "token_families",
    metadata,
    _id(),
    _tenant(),
    _user(),
    _client(),
    Column("grant_id", String(32), ForeignKey("grants.id", ondelete="CASCADE"), nullable=False),
    Column("scope", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant, nullable=True),
    Column("revoked_reason", String(40), nullable=True),
    Index(None, "grant_id"),
    Index(None, "tenant_id", "user_id"),
    Index(None, "client_id"),
)

authorization_codes = Table(
    "authorization_codes",
    metadata,
    _id(),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("transaction_id", String(64), nullable=False, unique=True),  # one code per consent
    _family(),
    _tenant(),
    _user(),
    _client(),
    Column("redirect_uri", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("code_challenge", String(43), nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant, nullable=True),
    Index(None, "family_id"),
    Index(None, "expires_at"),
)

access_tokens = Table(
    "access_tokens",
    metadata,
    _id(),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    _family(),
    _tenant(),
    _user(),
    _client(),
    Column("scope", Text, nullable=False),
    Column("audience", Text, nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant, nullable=True),
    Index(None, "family_id"),
    Index(None, "expires_at"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    _id(),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    _family(),
    _tenant(),
    _user(),
    _client(),
    Column("generation", Integer, nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant, nullable=True),
    Column("sealed_response", LargeBinary, nullable=True),  # opened only with the presented secret
    UniqueConstraint("family_id", "generation"),
    Index(None, "expires_at"),
)

personal_tokens = Table(
    "personal_tokens",
    metadata,
    _id(),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    _tenant(),
    _user(),
    Column("name", String(100), nullable=False),
    Column("scope", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("last_used_at", Instant, nullable=True),
    Column("revoked_at", Instant, nullable=True),
    Index(None, "tenant_id", "user_id"),
)

static_keys = Table(
    "static_keys",
    metadata,
    _id(),
    _tenant(),
    Column("name", String(100), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),  # HMAC, see sealing.key_digests
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("tenant_id", "name"),
)

key_probes = Table(
    "key_probes",
    metadata,
    _id(),
    Column("tenant_id", String(32), ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("sealed_settings", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

browser_sessions = Table(
    "browser_sessions",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    _user(),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant, nullable=True),
    Index(None, "user_id"),
    Index(None, "expires_at"),
)

audit_events = Table(
    "audit_events",
    metadata,
    _id(),
    Column("tenant_id", String(32), nullable=True),  # no foreign key: the trail outlives what it speaks of
    Column("user_id", String(32), nullable=True),
    Column("event", String(60), nullable=False),
    Column("at", Instant, nullable=False),
    Column("request_id", String(64), nullable=True),
    Column("detail", JSON, nullable=False),
    Index(None, "tenant_id", "at"),
    Index(None, "at"),
)
