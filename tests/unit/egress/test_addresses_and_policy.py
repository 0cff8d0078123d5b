"""Which URLs and addresses may be reached (security.md E1)."""

import pytest

from gateway_proxy.domain.errors import AddressForbidden
from gateway_proxy.egress.addresses import Reach, parse_address, reach_of
from gateway_proxy.egress.origin import parse_target
from gateway_proxy.egress.policy import EgressPolicy, origin_of

NEVER = [
    "169.254.169.254", "169.254.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1",
    "100.100.100.200", "168.63.129.16", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "ff02::1", "::",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::a9fe:a9fe",
]  # fmt: skip
PRIVATE = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "192.0.2.1",
    "198.18.0.1", "::1", "fc00::1", "fd12::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "::808:808", "64:ff9b:1::1", "fec0::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize(
    ("address", "reach"),
    [(a, Reach.NEVER) for a in NEVER] + [(a, Reach.PRIVATE) for a in PRIVATE] + [(a, Reach.PUBLIC) for a in PUBLIC],
)
def test_an_address_is_classified_by_where_it_really_leads(address: str, reach: Reach) -> None:
    """security.md E1: v4-mapped, 6to4 and NAT64 forms count as the address inside them."""
    assert reach_of(parse_address(address)) is reach


@pytest.mark.parametrize("address", NEVER)
def test_link_local_and_metadata_addresses_are_refused_even_if_allowed(address: str) -> None:
    """contract.md, GATEWAY_EGRESS_ALLOW: link-local and metadata addresses never."""
    policy = EgressPolicy.parse(["0.0.0.0/0", "::/0", "inside.example:443"])
    target = parse_target("https://inside.example/")
    with pytest.raises(AddressForbidden):
        policy.check_address(target, address, allowed_origin="inside.example:443")


def test_an_operators_url_allows_exactly_its_own_host_and_port() -> None:
    """contract.md, GATEWAY_EGRESS_ALLOW: URLs written by the operator allow exactly their own host:port."""
    policy, allowed = EgressPolicy(), origin_of("http://127.0.0.1:9000/mcp")
    target = parse_target("http://127.0.0.1:9000/mcp")
    policy.check_url(target, allowed_origin=allowed)
    policy.check_address(target, "127.0.0.1", allowed_origin=allowed)
    for other in ("http://127.0.0.1:9001/mcp", "http://127.0.0.2:9000/mcp", "http://localhost:9000/mcp"):
        with pytest.raises(AddressForbidden):
            policy.check_url(parse_target(other), allowed_origin=allowed)


def test_without_allowance_only_https_on_443_to_public_addresses_passes() -> None:
    """security.md E1: https, ports of the allow-list, public addresses."""
    policy = EgressPolicy()
    policy.check_url(parse_target("https://example.com/"))
    policy.check_address(parse_target("https://example.com/"), "93.184.216.34")
    with pytest.raises(AddressForbidden, match="https"):
        policy.check_url(parse_target("http://example.com/"))
    with pytest.raises(AddressForbidden, match="8443"):
        policy.check_url(parse_target("https://example.com:8443/"))
    with pytest.raises(AddressForbidden):
        policy.check_address(parse_target("https://example.com/"), "10.0.0.1")


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("tools.internal", "http://tools.internal:8080/", "10.0.0.5"),
        ("tools.internal:8080", "http://tools.internal:8080/", "10.0.0.5"),
        ("10.0.0.0/8", "http://tools.internal:8080/", "10.0.0.5"),
        ("10.0.0.5", "http://tools.internal:8080/", "10.0.0.5"),
        ("[fd12::5]:8080", "http://[fd12::5]:8080/", "fd12::5"),
        ("fd12::/16", "http://[fd12::5]:8080/", "fd12::5"),
    ],
)
def test_an_allow_entry_opens_its_host_or_network(entry: str, url: str, address: str) -> None:
    """contract.md, GATEWAY_EGRESS_ALLOW: host[:port] or CIDR."""
    policy, target = EgressPolicy.parse([entry]), parse_target(url)
    policy.check_url(target)
    policy.check_address(target, address)
    with pytest.raises(AddressForbidden):
        policy.check_address(parse_target("http://other.internal:81/"), "192.168.0.1")


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "http://x", "a b", "x/y", "", "host:port"])
def test_a_bad_allow_entry_is_named(entry: str) -> None:
    """contract.md, Errors: a message that names the field and what was expected."""
    with pytest.raises(ValueError, match="GATEWAY_EGRESS_ALLOW"):
        EgressPolicy.parse([entry])


@pytest.mark.parametrize(
    "url",
    [
        "https://127.1/", "https://0x7f.0.0.1/", "https://2130706433/", "https://0177.0.0.1/", "https://1.2.3/",
        "https://a@b/", "https://a.com\\@b.com/", "https://a.com#@b.com/", "https://a.com/#x", "https://a b/",
        "https://exämple.com/", "https://ex%61mple.com/", "ftp://a.com/", "file:///etc/passwd", "https://",
        "https://a.com:99999/", "https://a.com:x/", "https://[::1/", "https://[v1.x]/", "//a.com/", "a.com",
        "https://a..com/", "https://-a.com/", "https://a.com\r\nHost: b/", "https://a.com/\x00", "https://1.2.3.0x4/",
        "https://" + "a" * 5000,
    ],
)  # fmt: skip
def test_a_url_that_two_parsers_could_read_differently_is_refused(url: str) -> None:
    """security.md §2 rows 25, 36: what was checked is what gets connected."""
    with pytest.raises(AddressForbidden):
        parse_target(url)


def test_a_target_keeps_path_and_query_and_hides_the_default_port() -> None:
    """RFC 9110 §7.2: Host leaves out the default port."""
    target = parse_target("HTTPS://Example.COM:443/a/b?c=d&e")
    assert (target.host, target.port, target.path, target.authority) == (
        "example.com",
        443,
        "/a/b?c=d&e",
        "example.com",
    )
    assert target.host_port == "example.com:443"
    assert parse_target("http://[::1]:8000").authority == "[::1]:8000"
