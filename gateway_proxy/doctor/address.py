"""The address: how it is written, where it leads, and whether its certificate holds. No HTTP yet."""

import asyncio
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from gateway_proxy.doctor.findings import Findings, quoted

SECONDS: Final = 10.0
_SOON: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Place:
    """The URL as it was typed and as it is used, with scheme, host and port taken apart."""

    typed: str
    url: str
    scheme: str
    host: str
    port: int


def read_place(typed: str) -> Place:
    """The MCP URL that was typed; without any path, `/mcp` is meant.

    Raises:
        ValueError: It is no http or https URL.
    """
    parts = urlsplit(typed.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or not typed.isprintable():
        raise ValueError(typed)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    path = parts.path or "/mcp"
    query = f"?{parts.query}" if parts.query else ""
    return Place(typed.strip(), f"{parts.scheme}://{parts.netloc}{path}{query}", parts.scheme, parts.hostname, port)


def check_spelling(place: Place, found: Findings) -> None:
    """What the connector dialog does to a URL."""
    parts = urlsplit(place.typed)
    if place.scheme == "http":
        found.warn(
            "url", "http", expected="https", advice="Claude.ai connects to https only; this is fine for a first look"
        )
    elif parts.fragment:
        found.fail("url", "it has a #fragment", advice="leave it away: the resource identifier may have none")
    elif parts.query:
        found.warn("url", "it has a query", advice="tokens in the URL are not supported, and metadata must repeat it")
    elif parts.netloc != parts.netloc.lower():
        found.warn(
            "url", "the host has capital letters", advice="type it in lower case: metadata is compared byte by byte"
        )
    elif len(parts.path) > 1 and parts.path.endswith("/"):
        found.warn("url", "it ends with a slash", advice="the dialog strips it: give people the URL without it")
    elif not parts.path:
        found.ok("url", f"no path was given, so {place.url} is tried")
    else:
        found.ok("url", place.url)


async def check_addresses(place: Place, found: Findings) -> bool:
    """Claude connects over IPv4, and only to globally routable addresses. False when nothing can be reached at all."""
    try:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(SECONDS):
            entries = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        found.fail("dns", f"{place.host} does not resolve", advice="make an A record that points to the server")
        return False
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    old = [text for text in addresses if ":" not in text]
    private = [text for text in addresses if not ipaddress.ip_address(text.partition("%")[0]).is_global]
    if not old:
        found.fail(
            "dns", f"only IPv6: {', '.join(addresses)}", advice="add an A record: Claude connects over IPv4 only"
        )
    elif private:
        advice = "Claude.ai cannot reach it, and one such address among several is enough to be refused"
        found.warn("dns", f"{', '.join(private)} is not a public address", expected="public addresses", advice=advice)
    else:
        found.ok("dns", ", ".join(addresses))
    if place.port not in (443, 80) or (place.scheme == "https" and place.port != 443):
        found.warn(
            "port", str(place.port), expected="443", advice="other ports fail for some; put a proxy on 443 in front"
        )
    return True


async def check_tls(place: Place, trust: ssl.SSLContext, found: Findings, *, now: datetime) -> bool:
    """The certificate chain, its end, and HTTP/2. False when there is no connection to go on with."""
    trust.set_alpn_protocols(["h2", "http/1.1"])
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(
                place.host, place.port, ssl=trust if place.scheme == "https" else None
            )
    except ssl.SSLCertVerificationError as error:
        advice = (
            "a certificate from a public authority, with its whole chain (Caddy and certbot's fullchain.pem do that)"
        )
        found.fail("tls", quoted(error.verify_message), expected="a chain that every client trusts", advice=advice)
        return False
    except (OSError, TimeoutError) as error:
        what = "no TLS there" if isinstance(error, ssl.SSLError) else f"nothing answers on port {place.port}"
        found.fail(
            "connection", what, advice="check that the server runs and that firewall and provider let it through"
        )
        return False
    finally:
        trust.set_alpn_protocols(["http/1.1"])
    session = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    if session is None:
        found.ok("connection", f"port {place.port} answers")
        return True
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(session.getpeercert()["notAfter"])), UTC)
    seen = f"{session.version()}, certificate good until {ends:%Y-%m-%d}"
    if ends - now < _SOON:
        found.warn("tls", seen, advice="renew it: fewer than 14 days are left")
    else:
        found.ok("tls", seen)
    if session.selected_alpn_protocol() == "h2":
        found.ok("http2", "offered")
    else:
        found.warn("http2", "HTTP/1.1 only", advice="it works; each open stream then takes a connection of its own")
    return True
