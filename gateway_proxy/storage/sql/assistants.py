"""Assistants: a tenant's virtual models. They hold no credential; those are the provider's."""

from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, select
from sqlalchemy.orm import Session

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.storage.sql.tables import assistants
from gateway_proxy.storage.sql.upsert import put_definition


def list_assistants(session: Session, *, tenant_id: str) -> list[Assistant]:
    """List a tenant's assistants by name."""
    statement = select(assistants).where(assistants.c.tenant_id == tenant_id).order_by(assistants.c.name)
    return [_assistant_of(row) for row in session.execute(statement).mappings()]


def find_assistant(session: Session, *, tenant_id: str, name: str) -> Assistant | None:
    """Find one assistant of a tenant."""
    statement = select(assistants).where(assistants.c.tenant_id == tenant_id, assistants.c.name == name)
    row = session.execute(statement).mappings().one_or_none()
    return None if row is None else _assistant_of(row)


def put_assistant(session: Session, *, tenant_id: str, assistant: Assistant, now: datetime) -> Assistant:
    """Insert or update an assistant by its name; the revision goes up only if something changed.

    Returns what is stored; an update keeps the row's id.
    """
    return put_definition(
        session, table=assistants, tenant_id=tenant_id, value=assistant, read=_assistant_of, write=_values, now=now
    )


def remove_assistant(session: Session, *, tenant_id: str, name: str) -> bool:
    """Remove an assistant. False if the tenant has none of that name."""
    statement = delete(assistants).where(assistants.c.tenant_id == tenant_id, assistants.c.name == name)
    return session.execute(statement.returning(assistants.c.id)).first() is not None


def _values(assistant: Assistant) -> dict[str, Any]:
    return {
        "id": assistant.id,
        "tenant_id": assistant.tenant_id,
        "name": assistant.name,
        "provider": assistant.provider,
        "model": assistant.model,
        "origin": assistant.origin,
        "revision": assistant.revision,
        "definition": {
            "description": assistant.description,
            "system_prompt": assistant.system_prompt,
            "mcp_servers": None if assistant.mcp_servers is None else list(assistant.mcp_servers),
            "max_tool_iterations": assistant.max_tool_iterations,
            "temperature": assistant.temperature,
            "top_p": assistant.top_p,
            "max_tokens": assistant.max_tokens,
            "extra_body": dict(assistant.extra_body),
            "options": dict(assistant.options),
        },
    }


def _assistant_of(row: RowMapping) -> Assistant:
    definition = row["definition"]
    servers = definition["mcp_servers"]
    return Assistant(
        id=row["id"],
        tenant_id=row["tenant_id"],
        name=row["name"],
        provider=row["provider"],
        model=row["model"],
        origin=row["origin"],
        revision=row["revision"],
        description=definition["description"],
        system_prompt=definition["system_prompt"],
        mcp_servers=None if servers is None else tuple(servers),
        max_tool_iterations=definition["max_tool_iterations"],
        temperature=definition["temperature"],
        top_p=definition["top_p"],
        max_tokens=definition["max_tokens"],
        extra_body=definition["extra_body"],
        options=definition["options"],
    )
