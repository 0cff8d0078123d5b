"""The table from reasons to the wire is complete and says nothing it should not."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from gateway_proxy.domain import errors
from gateway_proxy.domain import oauth_errors as reasons
from gateway_proxy.domain.errors import (
    GatewayError,
)
from gateway_proxy.domain.oauth_errors import (
    GrantError,
    OAuthError,
)
from gateway_proxy.oauth.errors import WIRE, ascii_sentence, to_wire

CODES = {
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
    "invalid_scope",
    "invalid_target",
    "invalid_redirect_uri",
    "invalid_client_metadata",
    "access_denied",
    "login_required",
    "consent_required",
    "request_not_supported",
    "request_uri_not_supported",
    "temporarily_unavailable",
}


def leaves(family: type[GatewayError]) -> Iterator[type[GatewayError]]:
    """Every leaf of a family in domain.errors."""
    for kind in family.__subclasses__():
        if kind.__module__ == reasons.__name__:
            yield from [kind] if not kind.__subclasses__() else leaves(kind)


LEAVES = [*leaves(OAuthError), *leaves(GrantError), errors.RateLimited, errors.StorageUnavailable]


def example(kind: type[GatewayError]) -> GatewayError:
    """An instance with a value for every field."""
    values: dict[Any, Any] = {str: 'ä "quoted"', int: 7, float: 1.5}
    declared: dict[str, dataclasses.Field[Any]] = getattr(kind, "__dataclass_fields__", {})
    return kind(*(values[field.type] for field in declared.values()))


@pytest.mark.parametrize("kind", LEAVES)
def test_every_reason_has_a_wire_form(kind: type[GatewayError]) -> None:
    """House, Errors: every leaf is mapped, to an RFC code and an ASCII sentence (RFC 6749 §5.2)."""
    wire = to_wire(example(kind))
    assert wire.error in CODES or kind is reasons.RequestObjectUnsupported
    assert 400 <= wire.status <= 503
    assert wire.description == ascii_sentence(wire.description)
    assert (wire.status == 401) == ("WWW-Authenticate" in wire.headers)
    assert (wire.status in (429, 503)) == ("Retry-After" in wire.headers)


def test_the_table_has_no_row_for_anything_else() -> None:
    """What the table does not know goes on to the outer boundary as a fault of ours."""
    assert set(WIRE) == set(LEAVES)
    with pytest.raises(errors.ToolUnknown):
        to_wire(errors.ToolUnknown("x"))


def test_all_refused_grants_look_the_same() -> None:
    """Security AS13: no difference between unknown, expired and foreign."""
    assert len({to_wire(example(kind)).description for kind in leaves(GrantError)}) == 1
