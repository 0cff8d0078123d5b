"""Reasons → wire of the admin surface (contract, Errors)."""

import pytest

from gateway_proxy.admin_api.errors import refused_for
from gateway_proxy.domain.errors import (
    BackendUnavailable,
    ConfigFileInvalid,
    GatewayError,
    KeyUnknown,
    NotFound,
    ProviderInUse,
    RateLimited,
    SealBroken,
    StorageUnavailable,
    TrialFailed,
)


@pytest.mark.parametrize(
    ("error", "status", "sentence", "details"),
    [
        (ConfigFileInvalid(("a: b",)), 422, "Invalid server configuration.", ["a: b"]),
        (
            ProviderInUse("local", ("helper",)),
            422,
            "The provider 'local' is in use.",
            ["assistants.helper.provider: change it, or remove it first"],
        ),
        (TrialFailed(("calc: no",)), 502, "Failed to add backend servers.", ["calc: no"]),
        (NotFound("server", "x\n" * 90), 404, f"Unknown server '{('x?' * 90)[:60]}…'.", []),
        (RateLimited(1.2), 429, "Too many changes; try again later.", []),
        (StorageUnavailable(), 503, "The database cannot be reached.", []),
        (SealBroken(), 500, "A stored credential was altered, so nothing of this tenant's servers can be shown.", []),
        (
            KeyUnknown("0" * 16),
            500,
            "A stored credential was altered, so nothing of this tenant's servers can be shown.",
            [],
        ),
    ],
)
def test_each_reason_has_its_words(error: GatewayError, status: int, sentence: str, details: list[str]) -> None:
    """Never a traceback, never a library's text, never a secret."""
    refused = refused_for(error)
    assert (refused.status, refused.error, list(refused.details)) == (status, sentence, details)


@pytest.mark.parametrize(
    ("error", "seconds"), [(RateLimited(1.2), "2"), (RateLimited(0), "1"), (StorageUnavailable(), "2")]
)
def test_who_is_to_come_back_is_told_when(error: GatewayError, seconds: str) -> None:
    """Reference page of errors: 429 and 503 carry Retry-After."""
    assert dict(refused_for(error).headers) == {"Retry-After": seconds}


def test_a_reason_that_this_surface_never_meets_goes_on() -> None:
    """The boundary answers 500 and the log names the place."""
    with pytest.raises(BackendUnavailable):
        refused_for(BackendUnavailable("calc"))
