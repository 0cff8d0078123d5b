"""What a provider says when it fails, without what it was sent (security K3)."""

import json

import pytest

from gateway_proxy.domain.provider import Provider
from openai_routes.providers.failures import Failure, read_failure

KEY = "sk-upstream-0123"
TEAM = "team-secret-0123"
PROVIDER = Provider(
    "", "", "p", "openai", "tenant", 1, "https://x.example", KEY, {"Authorization": f"Bearer {TEAM}", "X-Short": "v1"}
)


@pytest.mark.parametrize("secret", [KEY, TEAM, f"Bearer {TEAM}"])
def test_neither_the_key_nor_what_a_header_holds_is_repeated(secret: str) -> None:
    """In a message, in the short words beside it, and in an answer that is no JSON; what is short is no secret."""
    error = {"message": f"v1 knows no {secret}.", "type": secret, "param": f"x-{secret}", "code": secret}
    found = read_failure(json.dumps({"error": error}).encode(), secrets=PROVIDER.secrets)
    assert found == Failure("v1 knows no [redacted].", "[redacted]", "x-[redacted]", "[redacted]")
    assert read_failure(f"no {secret}".encode(), secrets=PROVIDER.secrets).message == "no [redacted]"
