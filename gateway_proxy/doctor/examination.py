"""The order of the steps, which is Claude.ai's: address, challenge, discovery, registration, page, token, calls."""

import ssl
from datetime import datetime

from gateway_proxy.doctor.address import Place, check_addresses, check_spelling, check_tls
from gateway_proxy.doctor.authorization import check_authorization
from gateway_proxy.doctor.calling import Calls
from gateway_proxy.doctor.challenge import check_challenge
from gateway_proxy.doctor.discovery import check_surroundings, find_server
from gateway_proxy.doctor.findings import Findings
from gateway_proxy.doctor.http import Visitor


async def examine(place: Place, *, token: str, trust: ssl.SSLContext, found: Findings, now: datetime) -> None:
    """Go the whole way to the MCP server at `place`; a step that cannot be passed ends the way, not the calls.

    `token` (empty: none) is for the calls. It is sent to that host and to no other.
    """
    check_spelling(place, found)
    if not await check_addresses(place, found) or not await check_tls(place, trust, found, now=now):
        return
    async with Visitor(trust) as visitor:
        challenge = await check_challenge(visitor, place.url, found)
        if challenge is not None and not challenge.is_open:
            server = await find_server(visitor, place.url, challenge, found)
            if server is not None:
                await check_surroundings(visitor, place.url, server, found)
                await check_authorization(visitor, place.url, challenge, server, found)
        if token:
            await Calls(visitor, place.url, token, found).check()
        elif challenge is not None:
            found.skip("calls", "no --token was given, so tools and streams were not tried")
