"""Trying backends before they are stored: by the way of every call, with every wall of it. Nothing is stored here."""

import asyncio
from collections.abc import Sequence
from typing import Final

from gateway_proxy.backends.upstreams import Upstreams
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import BackendTimeout, GatewayError
from gateway_proxy.router.listing import TOOLS, fetch_snapshot
from gateway_proxy.router.shelf import describe

TRIAL_SECONDS: Final = 60.0


class Trials:
    """Connects to backends that no tenant has yet. Egress guard, runner, its allow-list and limits are the usual ones.

    What a trial opened lives on until `end`: a backend that is then stored under the same id goes on with it.
    """

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams

    async def find_problem(self, backend: Backend) -> str | None:
        """Connect and list its tools; None when that went well, else why not, in a phrase of ours."""
        seconds = max(TRIAL_SECONDS, backend.start_timeout)
        try:
            async with asyncio.timeout(seconds):
                await fetch_snapshot(self._upstreams, backend, TOOLS, _ignore_change)
        except TimeoutError:
            return describe(BackendTimeout(backend.name, seconds))
        except GatewayError as error:
            return describe(error)
        return None

    def end(self, backends: Sequence[Backend]) -> None:
        """Let go of what trials of these opened: sessions, children, connections."""
        for backend in backends:
            self._upstreams.retire(backend.id, backend.revision)


def _ignore_change(_: str) -> None:
    """Nobody holds a list of it yet."""
