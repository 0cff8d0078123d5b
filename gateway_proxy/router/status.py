"""How a backend is doing, for the tenant's administrators: counts, states, phrases of ours. No address, no secret."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import GatewayError
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.listing import PROMPTS, RESOURCES, TEMPLATES, TOOLS, ListKind
from gateway_proxy.router.shelf import State, describe
from gateway_proxy.router.tenant_lists import TenantLists

MAX_NOTES: Final = 20


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """How one backend is doing. `problem` and `notes` are our own phrases; `listed_at` is of the tools served."""

    name: str
    transport: str
    state: State
    tools: int
    problem: str | None
    notes: tuple[str, ...]
    listed_at: datetime | None
    prompts: int = 0
    resources: int = 0
    templates: int = 0


def status_of(ctx: TenantContext, held: TenantLists, backend: Backend, trouble: GatewayError | None) -> BackendStatus:
    """`trouble` is why the backend is left alone after failures in a row, be they of calls or of lists."""
    tools = held.tools.shelves[backend.id]
    counts: dict[ListKind, int] = {}
    problems: list[str] = []
    notes: list[str] = []
    for kind, kind_list in held.lists.items():
        shelf = kind_list.shelves[backend.id]
        label = "" if kind is TOOLS else f"{kind.member}: "
        counts[kind] = 0 if shelf.snapshot is None else len(shelf.snapshot.items)
        if shelf.problem is not None:
            problems.append(label + shelf.problem)
        noted = () if shelf.snapshot is None else shelf.snapshot.notes
        notes += [label + note for note in (*noted, *kind_list.view(ctx).clashes.get(backend.name, ()))]
    if trouble is not None and not problems:
        problems.append(f"its calls fail, and it is left alone for a while: {describe(trouble)}")
    return BackendStatus(
        name=backend.name,
        transport=backend.transport.value,
        state="failing" if problems else tools.state,
        tools=counts[TOOLS],
        problem=problems[0] if problems else None,
        notes=tuple(notes[:MAX_NOTES]),
        listed_at=tools.listed_at,
        prompts=counts[PROMPTS],
        resources=counts[RESOURCES],
        templates=counts[TEMPLATES],
    )
