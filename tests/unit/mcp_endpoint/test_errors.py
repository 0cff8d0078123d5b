"""Every reason that can reach /mcp has a wire form, and none leaks what it should not."""

from collections.abc import Iterator
from dataclasses import MISSING, Field
from typing import Any, get_type_hints

import pytest

from gateway_proxy.domain import errors
from gateway_proxy.domain.errors import GatewayError
from gateway_proxy.mcp_endpoint.errors import TABLE, refusal_of

SAMPLES: dict[Any, Any] = {
    str: "calc",
    int: 7,
    float: 7.5,
    bool: True,
    tuple[str, ...]: ("p",),
    GatewayError: errors.StorageUnavailable(),
    str | None: None,
    float | None: None,
    int | None: None,
    frozenset[str]: frozenset({"s"}),
}


def leaves(root: type[GatewayError]) -> Iterator[type[GatewayError]]:
    """The classes that are raised."""
    children = [child for child in root.__subclasses__() if child.__module__.startswith("gateway_proxy.")]
    if not children:
        yield root
    for child in children:
        yield from leaves(child)


def sample(kind: type[GatewayError]) -> GatewayError:
    """One error of that class."""
    declared: dict[str, Field[Any]] = getattr(kind, "__dataclass_fields__", {})
    hints = get_type_hints(kind)
    return kind(**{name: SAMPLES[hints[name]] for name, each in declared.items() if each.default is MISSING})


@pytest.mark.parametrize("kind", list(leaves(GatewayError)), ids=lambda kind: kind.__name__)
def test_every_reason_reaches_a_wire_code(kind: type[GatewayError]) -> None:
    """house.md, Errors: one table per surface."""
    refusal = refusal_of(sample(kind))
    assert refusal.status in {200, 400, 401, 403, 404, 413, 429, 503}
    assert refusal.code < 0
    assert refusal.message


@pytest.mark.parametrize(
    "kind",
    [
        *leaves(errors.RelayError),
        *leaves(errors.SessionError),
        *leaves(errors.LimitError),
        errors.StorageUnavailable,
    ],
    ids=lambda kind: kind.__name__,
)
def test_the_reasons_of_a_call_have_a_row_of_their_own(kind: type[GatewayError]) -> None:
    """A new reason of the relay must be thought about, not answered like its family."""
    assert kind in TABLE
