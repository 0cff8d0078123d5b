"""HTTP to checked addresses only. The name stays in SNI, certificate and Host; the connection goes to the address.

Redirects, proxies, cookies and decompression do not exist here: each would let the other side choose where we go or
how much we read. Our own `http1` carries https too, because a general client that goes on with a request after its
caller has left keeps a connection for as long as the other side likes (pyreqwest 0.15 does, before the head has come).
"""

import ssl
from collections.abc import Sequence
from functools import lru_cache

from gateway_proxy.egress.exchange import Http
from gateway_proxy.egress.http1_pool import open_address_http
from gateway_proxy.egress.origin import PinnedOrigin


def open_pinned(origin: PinnedOrigin, *, extra_roots: Sequence[bytes] = ()) -> Http:
    """An `Http` that can reach nothing but the addresses of `origin`. `extra_roots` are PEM certificates to trust."""
    target = origin.target
    tls = _trust(tuple(extra_roots)) if target.scheme == "https" else None
    return open_address_http(origin.addresses, target.port, authority=target.authority, host=target.host, tls=tls)


@lru_cache(maxsize=16)
def _trust(extra_roots: tuple[bytes, ...]) -> ssl.SSLContext:
    """Who is trusted: the machine's authorities (`SSL_CERT_FILE` too) and `extra_roots`. Reading them takes 20 ms."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    for root in extra_roots:
        context.load_verify_locations(cadata=root.decode("ascii"))
    return context
