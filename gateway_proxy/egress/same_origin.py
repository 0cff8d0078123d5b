"""Redirects that stay where they are: 307 and 308 to another path of the same scheme, host and port (RFC 9110 §15.4.8).

Servers send them for a slash too many or too few. Sender, addresses and credentials stay the same, so nothing is
reached that was not checked. No other redirect may be followed here or anywhere.
"""

from typing import Final
from urllib.parse import urljoin

from gateway_proxy.domain.errors import AddressForbidden
from gateway_proxy.egress.exchange import Http, Reply, RequestHeaders
from gateway_proxy.egress.origin import Target, parse_target

MOVES: Final = 2
_SAME_REQUEST: Final = (307, 308)


async def send_within_origin(
    http: Http, method: str, target: Target, headers: RequestHeaders, body: bytes, *, timeout: float
) -> tuple[Reply, Target]:
    """Send to `target` on its own `http`, and again at most `MOVES` times; the reply, and where it came from.

    A redirect that is not followed is the reply.

    Raises:
        EgressError: As `egress.exchange.Http.send`.
    """
    for _ in range(MOVES):
        reply = await http.send(method, target.path, headers, body, timeout=timeout)
        moved = _moved(reply, target)
        if moved is None:
            return reply, target
        await reply.close()
        target = moved
    return await http.send(method, target.path, headers, body, timeout=timeout), target


def _moved(reply: Reply, target: Target) -> Target | None:
    """Where the reply sends the same request on the same origin; None for every other reply."""
    location = reply.header("location")
    if reply.status not in _SAME_REQUEST or not location:
        return None
    try:
        moved = parse_target(urljoin(target.url, location))
    except (AddressForbidden, ValueError):
        return None
    return moved if (moved.scheme, moved.host_port) == (target.scheme, target.host_port) else None
