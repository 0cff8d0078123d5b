"""The Content-Security-Policy of pages (security B1; clients.md failure 3)."""

import pytest

from gateway_proxy.browser.content_security import content_security_policy, form_action_of


@pytest.mark.parametrize(
    ("redirect_uri", "sources"),
    [
        ("https://client.example/cb?x=1", ("https://client.example",)),
        ("https://Client.Example:8443/cb", ("https://client.example:8443",)),
        ("http://127.0.0.1:33418/", ("http://127.0.0.1:33418",)),
        ("http://localhost:3000/callback", ("http://localhost:3000",)),
        ("http://[::1]:3000/callback", ("http:",)),
        ("cursor://anysphere.cursor-mcp/oauth/callback", ("cursor:",)),
        ("com.example.app:/callback", ("com.example.app:",)),
        ("https://claude.ai/api/mcp/auth_callback", ("https://claude.ai", "https://claude.com", "claude:")),
        ("https://bücher.example/cb", ("https:",)),
        ("https://evil.example;script-src *", ("https:",)),
        ("no scheme", ()),
    ],
)
def test_form_action_is_the_origin_of_the_redirect_uri(redirect_uri: str, sources: tuple[str, ...]) -> None:
    """B1: from the validated redirect_uri only, `scheme:` for private-use schemes; nothing can break out of it."""
    assert form_action_of(redirect_uri) == sources


def test_the_policy_lets_nothing_in_but_our_style_and_images() -> None:
    """B1: default-src 'none', no inline script, no frame, no base."""
    assert content_security_policy(("https://client.example",)) == (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' https://client.example; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
