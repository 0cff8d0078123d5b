"""Servers that nobody can name a tool of: they have never been listed, by any worker that is remembered."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from gateway_proxy.router.listing import TOOLS
from gateway_proxy.router.shelf import FIRST_WAIT, Shelf
from gateway_proxy.router.tenant_lists import TenantLists

STARTING_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A server without a list of tools. `problem` says why as /status does, None while it still starts.

    `retry_after` is in how many seconds it is worth asking again.
    """

    name: str
    problem: str | None
    retry_after: float


async def find_unlisted(held: TenantLists, servers: Collection[str] | None) -> tuple[Unlisted, ...]:
    """The unlisted ones among `servers` (None = all of the tenant), by name.

    Those that are named are needed, so an attempt to list one of them anew is waited for, a few seconds.
    """
    unlisted = _of(held, servers)
    if servers is not None and (attempts := [task for shelf in unlisted if (task := shelf.attempt) is not None]):
        await asyncio.wait(attempts, timeout=FIRST_WAIT)
        unlisted = _of(held, servers)
    return tuple(
        Unlisted(shelf.backend.name, shelf.problem, STARTING_SECONDS if shelf.problem is None else shelf.due_in)
        for shelf in unlisted
    )


def _of(held: TenantLists, servers: Collection[str] | None) -> list[Shelf]:
    return [
        shelf
        for backend_id, shelf in held.tools.shelves.items()
        if shelf.snapshot is None
        and (servers is None or shelf.backend.name in servers)
        and not _has_other_kinds_only(held, backend_id)
    ]


def _has_other_kinds_only(held: TenantLists, backend_id: str) -> bool:
    """Whether it was listed for prompts or resources, and says that it has no tools."""
    introduction = held.introductions.get(backend_id)
    return introduction is not None and not introduction.has(TOOLS.capability)
