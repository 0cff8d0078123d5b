"""Environment names of the older systems that define things in the tenant `default`."""

import pytest

from gateway_proxy.domain.backend import Transport
from gateway_proxy.domain.errors import SettingsInvalid
from gateway_proxy.domain.provider import Provider
from gateway_proxy.provisioning.desired_state import DesiredState, DesiredTenant
from gateway_proxy.provisioning.environment_aliases import desired_state_from_environment, with_environment


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


KEYS = {"PROXY_API_KEY": "0123456789abcdef"}
ENVIRON = {**KEYS, "OPENAI_API_KEY": "sk-1", "MCP_SERVER_ENDPOINTS": "http://tools.example"}


def test_a_file_s_tenant_gets_from_the_environment_what_it_has_none_of() -> None:
    """Contract: the aliases keep working, `CONFIG_PATH` beside the others too; the file comes first."""
    local = Provider("", "", "local", "openai", "operator", 0, base_url="http://h/v1")
    file = DesiredState((DesiredTenant("acme"), DesiredTenant("default", providers=(local,))))

    completed, notices = with_environment(file, ENVIRON)

    acme, default = completed.tenants
    assert acme == file.tenants[0]
    assert default.exhaustive
    assert (default.static_keys, default.providers) == (KEYS, (local,))
    assert [backend.name for backend in default.backends] == ["tools-example"]
    assert notices == [
        "MCP_SERVER_ENDPOINTS: defines OpenAPI servers of the tenant default",
        "OPENAI_API_KEY: defines the provider default of the tenant default (ignored: the configuration file has its "
        "own providers; write it there)",
        "PROXY_API_KEY: a static key for /v1 of the tenant default",
    ]


def test_keys_of_a_file_count_alone_and_the_notice_says_what_to_write() -> None:
    """Compatibility D13: static keys belong to the tenant in whose configuration they stand."""
    own = {"key-1": "fedcba9876543210"}
    completed, (notice,) = with_environment(DesiredState((DesiredTenant("default", static_keys=own),)), KEYS)

    assert completed.tenants[0].static_keys == own
    assert notice.endswith(
        '(ignored: the configuration file has its own proxy_api_keys; write "${PROXY_API_KEY}" there)'
    )


def test_a_file_without_the_tenant_default_is_not_touched() -> None:
    """What the environment adds then is `serve`'s to add: a file of other tenants says nothing of this one."""
    file = DesiredState((DesiredTenant("acme"),))
    assert with_environment(file, ENVIRON) == (file, [])
