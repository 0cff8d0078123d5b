"""What kind of place an IP address is. Only classification; who may go where is decided in `policy`."""

from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final


class Reach(Enum):
    """PUBLIC may be reached by anybody's URL, PRIVATE only where an operator allowed it, NEVER by nobody."""

    PUBLIC = "public"
    PRIVATE = "private"
    NEVER = "never"


# Nothing useful lives there, or it hands out the credentials of the machine (security.md E1: never, even if allowed).
_NEVER_V4: Final = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # "this network": Linux connects it to loopback
        "169.254.0.0/16",  # link-local, and the metadata address of most clouds
        "100.100.100.200/32",  # Alibaba Cloud metadata
        "168.63.129.16/32",  # Azure wire server
        "192.0.0.192/32",  # Oracle Cloud metadata
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_NEVER_V6: Final = tuple(
    IPv6Network(block)
    for block in (
        "::/128",
        "fe80::/10",  # link-local
        "fd00:ec2::254/128",  # AWS metadata
        "fd20:ce::254/128",  # Google Cloud metadata
        "ff00::/8",  # multicast
    )
)
_PRIVATE_V4: Final = tuple(
    IPv4Network(block)
    for block in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # CGNAT
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
    )
)
_GLOBAL_UNICAST_V6: Final = IPv6Network("2000::/3")
_PRIVATE_V6: Final = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
        "2620:4f:8000::/48",
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")
_V4_COMPATIBLE: Final = IPv6Network("::/96")


def parse_address(text: str) -> IPv4Address | IPv6Address:
    """An address as the resolver gives it, without a scope id; v4-mapped ones become the IPv4 that is really reached.

    Raises:
        ValueError: It is not an address.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def reach_of(address: IPv4Address | IPv6Address) -> Reach:
    """Classify an address from `parse_address`. Anything not known to be public is not public."""
    if isinstance(address, IPv4Address):
        return _reach_v4(address)
    embedded = _embedded_v4(address)
    if embedded is not None and _reach_v4(embedded) is Reach.NEVER and address != IPv6Address("::1"):
        return Reach.NEVER
    if any(address in block for block in _NEVER_V6):
        return Reach.NEVER
    if address in _NAT64 and embedded is not None:
        return _reach_v4(embedded)
    if address not in _GLOBAL_UNICAST_V6 or any(address in block for block in _PRIVATE_V6):
        return Reach.PRIVATE
    return Reach.PUBLIC


def _reach_v4(address: IPv4Address) -> Reach:
    if any(address in block for block in _NEVER_V4):
        return Reach.NEVER
    if any(address in block for block in _PRIVATE_V4):
        return Reach.PRIVATE
    return Reach.PUBLIC


def _embedded_v4(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a translator or tunnel would really connect to."""
    if address in _NAT64 or address in _V4_COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _6TO4:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return None
