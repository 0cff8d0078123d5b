"""The table from reason to wire."""

from collections.abc import Iterator

import msgspec
import pytest

from gateway_proxy.domain import errors as domain
from openai_routes.errors import ChatError, auth_error_body, mapped_reasons, wire_error

REACHABLE = (ChatError, domain.AuthError, domain.RelayError, domain.EgressError, domain.LimitError)


def _leaves(kind: type[domain.GatewayError]) -> Iterator[type[domain.GatewayError]]:
    subclasses = kind.__subclasses__()
    if not subclasses:
        yield kind
    for subclass in subclasses:
        yield from _leaves(subclass)


@pytest.mark.parametrize("family", REACHABLE)
def test_every_reason_that_can_reach_the_surface_has_an_entry(family: type[domain.GatewayError]) -> None:
    """House, Errors: one table reason → wire per surface; a family may stand for leaves that it does not tell apart."""
    mapped = set(mapped_reasons())
    general = {domain.GatewayError, ChatError, domain.EgressError}
    for leaf in _leaves(family):
        assert mapped & (set(leaf.__mro__) - general), leaf


def test_what_is_no_reason_of_ours_is_a_plain_500() -> None:
    """Contract, Errors: never a traceback, never a library's text."""
    error = wire_error(ValueError("secret detail"))
    assert error.status == 500
    assert b"secret" not in error.body()


def test_the_door_speaks_the_shape_of_the_surface() -> None:
    """Compatibility C7: a bad token is 401 `Unauthorized…`."""
    body, content_type = auth_error_body(401, "invalid_token", "Unauthorized: the token is unknown")
    assert content_type == "application/json"
    error = msgspec.json.decode(body)["error"]
    assert error["message"].startswith("Unauthorized")
    assert set(error) == {"message", "type", "param", "code"}
