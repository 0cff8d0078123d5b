"""Names to addresses, with a time-out. It only asks; `guard` decides about the answer."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final, Protocol

from gateway_proxy.domain.errors import ConnectFailed

RESOLVE_TIMEOUT: Final = 5.0


class Resolver(Protocol):
    """Turns a host name into addresses in the order in which they should be tried."""

    async def addresses_of(self, host: str, port: int) -> Sequence[str]:
        """At least one address.

        Raises:
            ConnectFailed: The name does not resolve, or not in time.
        """


class SystemResolver:
    """The resolver of the machine (`getaddrinfo`, in the thread pool of the event loop)."""

    async def addresses_of(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise ConnectFailed(host, "the name did not resolve in time") from None
        except (OSError, UnicodeError):
            raise ConnectFailed(host, "the name does not resolve") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not addresses:
            raise ConnectFailed(host, "the name has no address")
        return addresses
