"""What counts as one caller when attempts are counted by address. No counting here."""

import ipaddress
from typing import Final

UNKNOWN: Final = "-"


def network_of(address: str | None) -> str:
    """An IPv4 address, or the /64 that one IPv6 subscriber has all of; `-` for what is no address."""
    if address is None:
        return UNKNOWN
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return UNKNOWN
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
