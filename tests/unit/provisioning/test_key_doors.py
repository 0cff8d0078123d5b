"""Keys of /v1 in a configuration: applied, taken back, kept apart, exported (compatibility D13–D15)."""

from pathlib import Path
from typing import Any

import pytest

from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.domain.outside_keys import Apiman
from gateway_proxy.provisioning.config_file import read_document
from gateway_proxy.provisioning.current_state import list_current_tenants
from gateway_proxy.provisioning.document import parse_yaml
from gateway_proxy.provisioning.environment_aliases import desired_state_from_environment
from gateway_proxy.provisioning.export import export_state
from gateway_proxy.sealing.key_digests import KeyDigests
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import FakeClock
from tests.unit.provisioning.test_apply import Place

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
PROBE = {"gateway_url": "http://apiman.internal:8080/gw/", "probe_api": "org/llm/1.0", "probe_path": "/ping"}


@pytest.fixture
def place(database: Database, keyring: Keyring, clock: FakeClock) -> Place:
    """A database to apply to."""
    return Place(database, keyring, clock)


def told(report: Any) -> list[str]:
    return [str(change) for change in report.changes]


async def test_keys_and_apiman_are_applied_changed_and_taken_back(place: Place) -> None:
    """Compatibility D13, D14: what a configuration no longer lists opens nothing."""
    keys = [KEY, {"name": "bob", "key": OTHER}]
    assert told(await place.apply({"tenants": {"acme": {"proxy_api_keys": keys, "apiman": PROBE}}})) == [
        "+ tenant acme",
        "+ static key acme/key-1",
        "+ static key acme/bob",
        "+ apiman acme/apiman",
    ]
    stored = await place.tenant()
    assert {key.name: key.digest for key in stored.static_keys} == {
        "key-1": KeyDigests(place.keyring).current(KEY),
        "bob": KeyDigests(place.keyring).current(OTHER),
    }
    assert stored.apiman is not None
    assert stored.apiman.probe_url == "http://apiman.internal:8080/gw/org/llm/1.0/ping"
    assert told(await place.apply({"tenants": {"acme": {"proxy_api_keys": keys, "apiman": PROBE}}})) == []

    renamed = {"proxy_api_keys": [{"name": "ann", "key": KEY}, {"name": "bob", "key": "x" * 16}]}
    assert told(await place.apply({"tenants": {"acme": {**renamed, "apiman": {**PROBE, "timeout": 2}}}})) == [
        "+ static key acme/ann",
        "~ static key acme/bob: key changed",
        "- static key acme/key-1",
        "~ apiman acme/apiman: timeout 5 → 2",
    ]
    assert told(await place.apply({"tenants": {"acme": {}}})) == [
        "- static key acme/ann",
        "- static key acme/bob",
        "- apiman acme/apiman",
    ]
    stored = await place.tenant()
    assert (stored.static_keys, stored.apiman) == ((), None)


async def test_a_key_opens_one_tenant_only(place: Place) -> None:
    """Security T1: the tenant is read from the key, so a key of two tenants would have none."""
    await place.apply({"tenants": {"acme": {"proxy_api_keys": [KEY]}}})
    both = {"one": {"proxy_api_keys": [OTHER]}, "two": {"proxy_api_keys": [KEY, OTHER]}}
    with pytest.raises(ConfigFileInvalid) as caught:
        await place.apply({"tenants": both})
    assert caught.value.problems == (
        "tenants.two.proxy_api_keys.key-1: the same key opens the tenant acme; a key belongs to one tenant",
        "tenants.two.proxy_api_keys.key-2: the same key opens the tenant one; a key belongs to one tenant",
    )


async def test_an_export_names_a_variable_for_each_key(place: Place) -> None:
    """Contract, export: it round-trips for whoever knows the keys; only their digests are stored."""
    settings = {"proxy_api_keys": [{"name": "bob", "key": KEY}], "apiman": {**PROBE, "cache_ttl": 0}}
    await place.apply({"tenants": {"acme": settings}})
    exported = export_state(await place.database.read(list_current_tenants, keyring=place.keyring), [])

    text = exported.as_yaml()

    assert KEY not in text
    assert dict(exported.variables) == {"ACME_KEY_BOB": ""}
    again = read_document(parse_yaml(text), {"ACME_KEY_BOB": KEY}, folder=Path("/"))
    assert told(await place.apply(again)) == []


async def test_keys_are_digested_anew_after_a_rotation(place: Place) -> None:
    """Security K2: the older secret key is needed until the configuration was applied again."""
    settings = {"tenants": {"acme": {"proxy_api_keys": [KEY], "apiman": PROBE}}}
    await place.apply(settings)
    newer = "a newer key that is long enough 0003"
    stranger = Place(place.database, Keyring([newer]), place.clock)

    assert told(await stranger.apply(settings)) == [
        "~ static key acme/key-1: key changed",
        "~ apiman acme/apiman",
    ]
    assert told(await stranger.apply(settings)) == []
    assert KeyDigests(Keyring(["older key that is long enough 0001", newer])).all(KEY)[1] == KeyDigests(
        Keyring([newer])
    ).current(KEY)


def test_the_environment_completes_the_section_of_the_default_tenant() -> None:
    """Contract, aliases: APIMAN_GATEWAY_URL and APIMAN_SHARED_SECRET."""
    environ = {"APIMAN_GATEWAY_URL": "http://apiman.internal:8080", "APIMAN_SHARED_SECRET": "a-secret-of-apiman"}
    older = read_document({"mcp_servers": {}, "apiman": {"probe_api": "o/a/1"}}, environ, folder=Path("/"))
    assert older.tenants[0].apiman == Apiman(
        mode="gateway_probe", gateway_url=environ["APIMAN_GATEWAY_URL"], probe_api="o/a/1", secret="a-secret-of-apiman"
    )
    header = {"mode": "trusted_header", "header": "X-Gw"}
    document = {"tenants": {"default": {"apiman": header}}}
    apiman = read_document(document, environ, folder=Path("/")).tenants[0].apiman
    assert apiman is not None
    assert apiman.secret == "a-secret-of-apiman"
    with pytest.raises(ConfigFileInvalid, match=r"tenants\.acme\.apiman\.secret: required in mode trusted_header"):
        read_document({"tenants": {"acme": {"apiman": header}}}, environ, folder=Path("/"))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"proxy_api_keys": ["short"]}, "proxy_api_keys[0]: expected at least 16 visible ASCII characters"),
        ({"proxy_api_keys": ["sixteen and blank"]}, "proxy_api_keys[0]: expected at least 16 visible ASCII characters"),
        ({"proxy_api_keys": ["gw_pat_0123456789"]}, "proxy_api_keys[0]: expected another beginning"),
        ({"proxy_api_keys": [KEY, KEY]}, "proxy_api_keys[1]: the same key stands here twice"),
        ({"apiman": {"probe_api": "o/a/1"}}, "apiman.gateway_url: required in mode gateway_probe"),
        ({"apiman": {**PROBE, "probe_api": "o/a"}}, "apiman.probe_api: "),
        ({"apiman": {**PROBE, "probe_path": "a?b"}}, "apiman.probe_path: expected a path"),
        ({"apiman": {**PROBE, "api_key_header": "Host"}}, "apiman.api_key_header: expected the name of a header"),
        ({"apiman": {**PROBE, "gateway_url": "ftp://x"}}, "apiman.gateway_url: expected a URL that starts with"),
        (
            {"apiman": {"mode": "trusted_header", "header": "X-Gw", "secret": "short"}},
            "apiman.secret: expected at least 16",
        ),
    ],
)
def test_what_does_not_fit_is_named(settings: dict[str, Any], problem: str) -> None:
    """Compatibility D14: an incomplete configuration refuses to load and says which field."""
    with pytest.raises(ConfigFileInvalid) as caught:
        read_document({"tenants": {"acme": settings}}, {}, folder=Path("/"))
    assert caught.value.problems[0].startswith(f"tenants.acme.{problem}")


def test_a_short_key_in_the_environment_is_refused_without_being_shown() -> None:
    """Contract, aliases: PROXY_API_KEY."""
    with pytest.raises(Exception, match="PROXY_API_KEY: expected at least 16 visible") as caught:
        desired_state_from_environment({"PROXY_API_KEY": "hunter2"})
    assert "hunter2" not in str(caught.value)
