"""URLs taken apart strictly, so that what was checked is what gets connected. No resolving here."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urlsplit

from gateway_proxy.domain.errors import AddressForbidden

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
MAX_URL_LENGTH: Final = 4096
_UNCLEAN: Final = re.compile(r"[^\x21-\x7e]|[\\^`{|}<>\"]")
_HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\.?"
)
_NUMERIC_END: Final = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """An absolute http(s) URL in parts: `host` lower case without brackets, `path` with its query, never empty."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the Host header says: the default port of the scheme is left out (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if DEFAULT_PORTS[self.scheme] == self.port else f"{host}:{self.port}"

    @property
    def host_port(self) -> str:
        """`host:port` with the port always there, the form that an allowance is compared in."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole, with its port."""
        return f"{self.scheme}://{self.host_port}{self.path}"


@dataclass(frozen=True, slots=True)
class PinnedOrigin:
    """A target whose host was resolved once and whose every address was checked; connect to these and no other."""

    target: Target
    addresses: tuple[str, ...]


def parse_target(url: str) -> Target:
    """Take a URL apart, refusing every form that two parsers could read differently.

    No user info, fragment, backslash, blank or non-ASCII character; an IPv4 address only as four decimal numbers
    (a resolver would also take `127.1`, `0x7f.1` and `2130706433`).

    Raises:
        AddressForbidden: The URL is not of that strict form.
    """
    if len(url) > MAX_URL_LENGTH or _UNCLEAN.search(url):
        raise AddressForbidden("", "the URL has characters that are not allowed in a URL, or is too long")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressForbidden("", "the URL cannot be read") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise AddressForbidden(parts.hostname or "", "the URL must start with https:// or http://")
    if "@" in parts.netloc or "#" in url:
        raise AddressForbidden(parts.hostname or "", "the URL must not hold a user name or a fragment")
    host = _strict_host(parts.netloc, parts.hostname or "")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], path)


def _strict_host(netloc: str, host: str) -> str:
    if netloc.startswith("["):
        try:
            return str(IPv6Address(host))
        except ValueError:
            raise AddressForbidden(host, "the host is not an IPv6 address") from None
    if not _HOST_NAME.fullmatch(host):
        raise AddressForbidden(host, "the host is not a valid name (international names in their xn-- form)")
    if _NUMERIC_END.search(host):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise AddressForbidden(host, "the host is not an IPv4 address") from None
    return host
