"""`base_url` of an OpenAPI service: where it may stand, and what the older variables make of it."""

from pathlib import Path
from typing import Any

import pytest

from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.provisioning.config_file import read_document
from gateway_proxy.provisioning.definitions import read_server
from gateway_proxy.provisioning.environment_aliases import desired_state_from_environment


def read(**server: Any) -> Any:
    """The one backend of a file."""
    document = {"tenants": {"acme": {"mcpServers": {"shop": server}}}}
    return read_document(document, {}, folder=Path("/")).tenants[0].backends[0]


def test_a_base_url_says_where_the_operations_are() -> None:
    """Security E3: the server URL is fixed by the definition."""
    backend = read(transport="openapi", url="https://raw.x/openapi.yaml", base_url="https://api.x/v1")
    assert backend.base_url == "https://api.x/v1"
    assert read(transport="openapi", url="https://x/openapi.json").base_url is None


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ({"url": "https://x/mcp", "base_url": "https://x"}, "only with transport openapi"),
        ({"transport": "openapi", "url": "https://x/a", "base_url": "https://x?key=1"}, "expected no query"),
        ({"transport": "openapi", "url": "https://x/a", "base_url": "x.example"}, "expected a URL that starts with"),
        ({"transport": "openapi", "url": "https://x/a", "base_url": "https://u:p@x"}, "expected no user or password"),
    ],
)
def test_a_base_url_that_cannot_be_used_is_named(server: dict[str, Any], problem: str) -> None:
    """Contract, errors: the message names the field and what was expected."""
    with pytest.raises(ConfigFileInvalid) as caught:
        read(**server)
    (told,) = caught.value.problems
    assert "base_url" in told
    assert problem in told


def test_a_redacted_base_url_is_not_taken_for_a_value() -> None:
    """Security K3: what an answer showed as redacted is never stored."""
    shown = {"transport": "openapi", "url": "https://x/a", "base_url": "https://x/[redacted]"}
    with pytest.raises(ConfigFileInvalid, match="base_url"):
        read_server("shop", shown, origin="platform")


def test_an_endpoint_with_a_path_keeps_its_operations_below_it() -> None:
    """Compatibility A2, A6: the older proxy called `{endpoint}{path}`, whatever the document's servers said."""
    environ = {"MCP_SERVER_ENDPOINTS": "http://tools.example:8000/time/,http://tools.example:9000"}
    desired, _ = desired_state_from_environment(environ)
    assert [(backend.url, backend.base_url) for backend in desired.tenants[0].backends] == [
        ("http://tools.example:8000/time/openapi.json", "http://tools.example:8000/time"),
        ("http://tools.example:9000/openapi.json", None),
    ]
