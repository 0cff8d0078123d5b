"""A gateway as `scripts/run` starts it, with what it printed read back: the first five minutes of a new user."""

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from tests.support.gateway import GatewayProcess, running_gateway


@dataclass
class Bootstrapped:
    """The printed facts of a first start."""

    url: str
    email: str
    password: str
    token: str
    printed: str
    process: GatewayProcess


@contextlib.asynccontextmanager
async def bootstrapped_gateway(environment: Mapping[str, str] | None = None) -> AsyncIterator[Bootstrapped]:
    """Start `serve --bootstrap` on a fresh data directory and read the printed e-mail, password and token."""
    async with running_gateway(arguments=("--bootstrap",), environment=environment) as gateway:
        printed = gateway.output.read_text()
        token = re.search(r"gw_pat_[A-Za-z0-9_-]{43}", printed)
        email = re.search(r"[\w.+-]+@[\w.-]+", printed)
        password = re.search(r"(?i)password[^\n:]*:\s*(\S+)", printed)
        assert token, printed
        assert email, printed
        assert password, printed
        yield Bootstrapped(gateway.url, email[0], password[1], token[0], printed, gateway)
