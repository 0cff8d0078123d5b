"""Who may be reached: the decision on one address for one URL. No network is touched here."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gateway_proxy.domain.errors import AddressForbidden
from gateway_proxy.egress.addresses import Reach, parse_address, reach_of
from gateway_proxy.egress.origin import DEFAULT_PORTS, Target, parse_target


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What URLs may reach besides public https (security.md E1), from `GATEWAY_EGRESS_ALLOW`.

    `origins` are `host` or `host:port`, `networks` whole blocks. Neither opens link-local or metadata addresses.
    """

    origins: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "EgressPolicy":
        """Read `host`, `host:port`, an address or a CIDR block each.

        Raises:
            ValueError: Naming the entry that is none of these.
        """
        origins: set[str] = set()
        networks: list[IPv4Network | IPv6Network] = []
        for entry in entries:
            text = entry.strip().lower()
            try:
                networks.append(ip_network(text, strict=False))
            except ValueError:
                if "/" in text:
                    raise ValueError(f"GATEWAY_EGRESS_ALLOW: {entry!r} is not a CIDR block") from None
                origins.add(_strict_origin(entry, text))
        return cls(frozenset(origins), tuple(networks))

    def check_url(self, target: Target, *, allowed_origin: str | None = None) -> None:
        """Decide what can be decided before resolving: plain http and odd ports are for allowed origins only.

        Raises:
            AddressForbidden: The scheme or port is not allowed for this host.
        """
        if self._is_allowed_origin(target, allowed_origin) or self.networks:
            return  # with allowed networks the answer depends on the address
        self._check_plain(target)

    def check_address(self, target: Target, address: str, *, allowed_origin: str | None = None) -> None:
        """Decide on one address that the target's host resolved to.

        Raises:
            AddressForbidden: It may not be connected to for this URL.
        """
        parsed = parse_address(address)
        reach = reach_of(parsed)
        if reach is Reach.NEVER:
            raise AddressForbidden(target.host, "a link-local, metadata, multicast or unspecified address")
        if self._is_allowed_origin(target, allowed_origin) or self._is_in_networks(parsed):
            return
        if reach is not Reach.PUBLIC:
            raise AddressForbidden(target.host, "not a public address")
        self._check_plain(target)

    def _check_plain(self, target: Target) -> None:
        if target.scheme != "https":
            raise AddressForbidden(target.host, "only https is allowed here")
        if target.port != DEFAULT_PORTS["https"]:
            raise AddressForbidden(target.host, f"port {target.port} is not allowed here")

    def _is_allowed_origin(self, target: Target, allowed_origin: str | None) -> bool:
        host_port = target.host_port
        if allowed_origin is not None and host_port == allowed_origin.lower():
            return True
        return host_port in self.origins or target.host in self.origins

    def _is_in_networks(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.networks)


def origin_of(url: str) -> str:
    """The `host:port` of a URL that an operator wrote: what `allowed_origin` takes.

    Raises:
        AddressForbidden: The URL is not of the strict form of `parse_target`.
    """
    return parse_target(url).host_port


def _strict_origin(entry: str, text: str) -> str:
    try:
        target = parse_target(f"https://{text}")
    except AddressForbidden as error:
        raise ValueError(f"GATEWAY_EGRESS_ALLOW: {entry!r} is not a host, host:port or CIDR block") from error
    if target.path != "/" or text.endswith("/"):
        raise ValueError(f"GATEWAY_EGRESS_ALLOW: {entry!r} is not a host, host:port or CIDR block")
    has_port = text.rpartition(":")[2].isdigit() and not text.endswith("]")
    return target.host_port if has_port else str(_plain_host(target.host))


def _plain_host(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return host
