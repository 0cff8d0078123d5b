"""Where calls go: the definition decides, then the document, and the document only on its own origin (E3)."""

import pytest

from gateway_proxy.backends.openapi.servers import Base, base_of
from gateway_proxy.domain.errors import AddressForbidden

DOCUMENT = "https://x.example/docs/openapi.json?v=1"


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (None, Base("https://x.example/", "")),
        ("/", Base("https://x.example/", "")),
        ("/v1", Base("https://x.example/v1", "/v1")),
        ("/v1/", Base("https://x.example/v1/", "/v1")),
        ("api", Base("https://x.example/docs/api", "/docs/api")),
        ("../v2", Base("https://x.example/v2", "/v2")),
        ("https://x.example/v1", Base("https://x.example/v1", "/v1")),
        ("https://X.example:443/v1?key=1#f", Base("https://x.example:443/v1", "/v1")),
        ("https://api.example/v1", Base("https://x.example/v1", "/v1", is_moved=True)),
        ("https://x.example:8443/v1", Base("https://x.example/v1", "/v1", is_moved=True)),
        ("http://x.example/v1", Base("https://x.example/v1", "/v1", is_moved=True)),
        ("//evil.example/v1", Base("https://x.example/v1", "/v1", is_moved=True)),
        ("http://169.254.169.254/latest", Base("https://x.example/latest", "/latest", is_moved=True)),
        ("https://x.example@evil.example/", Base("https://x.example/", "", is_moved=True)),
        ("https://{region}.example/", Base("https://x.example/", "", is_moved=True)),
        ("file:///etc/passwd", Base("https://x.example/", "", is_moved=True)),
        ("http://[", Base("https://x.example/", "", is_moved=True)),
        ("/a b", Base("https://x.example/", "", is_moved=True)),
    ],
)
def test_the_server_of_a_document_stays_on_its_origin(server: str | None, expected: Base) -> None:
    """E3: server URL fixed: the document chooses a path, never a host, port or scheme."""
    found = base_of(DOCUMENT, server, None)
    assert found._replace(url=found.url.replace(":443", "")) == expected._replace(url=expected.url.replace(":443", ""))


def test_a_base_url_decides_alone() -> None:
    """The operator's definition says otherwise: nothing of the document counts."""
    assert base_of(DOCUMENT, "https://evil.example/", "https://api.example/v1/") == Base(
        "https://api.example/v1/", "/v1"
    )


def test_a_document_on_an_address_and_port_keeps_them() -> None:
    """Private services: the origin is all of scheme, host and port."""
    assert base_of("http://[::1]:9/o.json", "http://127.0.0.1:9/v1", None) == Base("http://[::1]:9/v1", "/v1", True)


def test_a_base_url_that_is_none_is_refused() -> None:
    """It was checked when it was written; this is the second look."""
    with pytest.raises(AddressForbidden):
        base_of(DOCUMENT, None, "ftp://x")
