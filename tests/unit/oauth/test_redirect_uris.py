"""Which redirect URIs may be registered, and which requested one is a registered one."""

import pytest

from gateway_proxy.domain.oauth_errors import (
    RedirectUriInvalid,
)
from gateway_proxy.oauth.redirect_uris import find_registered, is_loopback, redirect_host, verify_redirect_uris


@pytest.mark.parametrize(
    "uri",
    [
        "https://claude.ai/api/mcp/auth_callback",
        "https://client.example:8443/cb?x=1",
        "https://[2001:db8::1]/cb",
        "http://127.0.0.1/",
        "http://127.0.0.1:33418/",
        "http://localhost:6274/oauth/callback",
        "http://[::1]:9000/cb",
        "http://localhost",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "vscode://vscode.github-authentication/did-authenticate",
        "warp://mcp/oauth2callback",
        "mcpjam://oauth/callback",
        "raycast://oauth?package_name=mcp_server_demo_(dev)",
        "vscodium://saoudrizwan.claude-dev/mcp-auth/callback/ab12",
        "windsurf://codeium.windsurf/callback",
        "com.example.app:/oauth2redirect",
        "com.example.app://callback",
    ],
)
def test_the_shapes_that_clients_use_may_be_registered(uri: str) -> None:
    """RFC 8252 §7, clients.md."""
    assert verify_redirect_uris([uri]) == (uri,)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://",
        "https:///cb",
        "https://../cb",
        "https://./cb",
        "https://client..example/cb",
        "https:client.example/cb",
        "http://client.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://localhost.evil.example/",
        "http://localhost:80@evil.example/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.2/",
        "https://user@client.example/cb",
        "https://user:pw@client.example/cb",
        "https://client.example\\@evil.example/",
        "https://client.example%25@evil.example/",
        "https://client.example/cb#fragment",
        "https://client.example/*",
        "https://*.example/cb",
        "https://client.example/a b",
        "https://client.example/\n",
        "https://client.example/\u202e",
        "https://clïent.example/",
        "HTTPS://client.example/cb",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://client.example/",
        "about:blank",
        "vbscript:x",
        "myapp://callback",
        "cursor:callback",
        "cursor://user@host/cb",
        "//client.example/cb",
        "/cb",
        "https://client.example/" + "x" * 2048,
        "https://" + "x" * 241 + "/",
        None,
        7,
        ["https://client.example/cb"],
    ],
)
def test_anything_else_may_not_be_registered(uri: object) -> None:
    """Security AS9, incidents 31 and 36: an allow-list after a strict parse."""
    with pytest.raises(RedirectUriInvalid):
        verify_redirect_uris([uri])


@pytest.mark.parametrize(
    "uri",
    ["https://[....]/cb", "https://[:::::]/cb", "https://[1::2::3]/", "com.example.app://[x/", "com.example.app://a]/"],
)
def test_a_host_in_brackets_is_an_address_or_refused(uri: str) -> None:
    """RFC 3986 §3.2.2: what `urlsplit` cannot read must not get in, where it would break every page that shows it."""
    with pytest.raises(RedirectUriInvalid):
        verify_redirect_uris([uri])


def test_at_least_one_and_at_most_ten_may_be_registered() -> None:
    """Security AS9."""
    uri = "https://client.example/cb"
    assert len(verify_redirect_uris([uri] * 10)) == 10
    for uris in ([], [uri] * 11):
        with pytest.raises(RedirectUriInvalid):
            verify_redirect_uris(uris)


@pytest.mark.parametrize(
    ("requested", "registered", "is_match"),
    [
        ("https://client.example/cb", "https://client.example/cb", True),
        ("https://client.example/cb/", "https://client.example/cb", False),
        ("https://client.example/cb?x", "https://client.example/cb", False),
        ("https://client.example:443/cb", "https://client.example/cb", False),
        ("https://CLIENT.example/cb", "https://client.example/cb", False),
        ("https://client.example/%63b", "https://client.example/cb", False),
        ("https://client.example/a/../cb", "https://client.example/cb", False),
        ("http://127.0.0.1:5/cb", "http://127.0.0.1:4/cb", True),
        ("http://127.0.0.1:5/cb", "http://127.0.0.1/cb", True),
        ("http://127.0.0.1/cb", "http://127.0.0.1:4/cb", True),
        ("http://[::1]:5/cb", "http://[::1]:4/cb", True),
        ("http://127.0.0.1:\uff11\uff12/cb", "http://127.0.0.1/cb", False),
        ("http://127.0.0.1:\u0661/cb", "http://127.0.0.1/cb", False),
        ("http://localhost:5/cb?a=1", "http://localhost:4/cb?a=1", True),
        ("http://localhost:5/cb", "http://127.0.0.1:5/cb", False),
        ("http://localhost:5/cb/", "http://localhost:4/cb", False),
        ("http://localhost:5/cb?a=1", "http://localhost:4/cb", False),
        ("http://localhost:5/cb#f", "http://localhost:5/cb", False),
        ("https://localhost:5/cb", "https://localhost:4/cb", False),
        ("http://localhost:99999/cb", "http://localhost:4/cb", False),
        ("http://localhost:4@evil.example/cb", "http://localhost:4/cb", False),
    ],
)
def test_only_the_port_of_a_loopback_uri_may_differ(requested: str, registered: str, is_match: bool) -> None:
    """Security AS2, RFC 8252 §7.3."""
    assert (find_registered(requested, [registered]) == registered) is is_match


def test_the_redirect_host_is_what_a_person_can_judge() -> None:
    """Security B4: the redirect host is shown and recorded; a loopback port is noise."""
    assert redirect_host("https://Client.example:8443/cb?x") == "client.example:8443"
    assert redirect_host("http://localhost:5/cb") == "localhost"
    assert redirect_host("cursor://anysphere/cb") == "cursor:"
    assert is_loopback("http://[::1]:5/")
    assert not is_loopback("https://localhost/")
