"""Environment names of the older systems that define things in the tenant `default`."""

import pytest

from gateway_proxy.domain.backend import Transport
from gateway_proxy.domain.errors import SettingsInvalid
from gateway_proxy.provisioning.environment_aliases import desired_state_from_environment


def test_the_provider_and_the_tool_servers_of_the_openapi_proxy_are_defined() -> None:
    """Compatibility A1, A2, A4."""
    desired, notices = desired_state_from_environment(
        {
            "OPENAI_BASE_URL": "http://127.0.0.1:1234/v1/",
            "OPENAI_API_KEY": "sk-1",
            "MCP_SERVER_ENDPOINTS": "http://127.0.0.1:8001/weather/, http://tools.example:9000,http://127.0.0.1:8001/weather",
            "MCP_SERVERS": "http://other.example/weather",
        }
    )

    (tenant,) = desired.tenants
    assert (tenant.slug, tenant.exhaustive) == ("default", False)
    (provider,) = tenant.providers
    assert (provider.name, provider.kind, provider.base_url, provider.api_key) == (
        "default",
        "openai",
        "http://127.0.0.1:1234/v1",
        "sk-1",
    )
    assert [(backend.name, backend.url) for backend in tenant.backends] == [
        ("weather", "http://127.0.0.1:8001/weather/openapi.json"),
        ("tools-example-9000", "http://tools.example:9000/openapi.json"),
        ("weather-2", "http://other.example/weather/openapi.json"),
    ]
    assert {backend.transport for backend in tenant.backends} == {Transport.OPENAPI}
    assert [notice.partition(":")[0] for notice in notices] == [
        "MCP_SERVER_ENDPOINTS",
        "MCP_SERVERS",
        "OPENAI_BASE_URL and OPENAI_API_KEY",
    ]


def test_keys_alone_stand_for_the_public_apis() -> None:
    """Contract: OPENAI_API_KEY and ANTHROPIC_API_KEY keep working."""
    desired, _ = desired_state_from_environment({"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b"})

    assert [(provider.name, provider.base_url) for provider in desired.tenants[0].providers] == [
        ("default", "https://api.openai.com/v1"),
        ("anthropic", "https://api.anthropic.com/v1"),
    ]


def test_a_static_key_is_read_and_apiman_points_to_the_file() -> None:
    """Compatibility D13, D14."""
    desired, notices = desired_state_from_environment(
        {"PROXY_API_KEY": "0123456789abcdef", "APIMAN_GATEWAY_URL": "https://apiman.example"}
    )

    assert desired.tenants[0].static_keys == {"PROXY_API_KEY": "0123456789abcdef"}
    assert any(notice.startswith("APIMAN_GATEWAY_URL is read only where a configuration file") for notice in notices)


def test_nothing_set_defines_nothing() -> None:
    """An environment without older names must not touch the tenant `default`."""
    desired, notices = desired_state_from_environment({"PATH": "/bin", "OPENAI_BASE_URL": " "})

    assert desired.tenants == ()
    assert notices == []


def test_values_that_cannot_be_used_are_all_named_and_never_repeated() -> None:
    """Contract, errors."""
    with pytest.raises(SettingsInvalid) as caught:
        desired_state_from_environment(
            {"OPENAI_BASE_URL": "localhost:1234", "MCP_SERVERS": "http://u:hunter2@h/", "PROXY_API_KEY": "hunter2"}
        )

    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "MCP_SERVERS",
        "OPENAI_BASE_URL",
        "PROXY_API_KEY",
    ]
    assert "hunter2" not in str(caught.value)
