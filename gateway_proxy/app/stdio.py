"""`serve --transport stdio`: the tools of tenant `default` as one stdio server, for the operator of this machine."""

import asyncio
import os
import stat
import sys
from datetime import timedelta
from typing import BinaryIO, Final

from gateway_proxy.app.protected import mcp_endpoint
from gateway_proxy.domain.errors import NotFound
from gateway_proxy.domain.principal import Principal, Scope, TokenKind
from gateway_proxy.domain.tenant import Role, Tenant, TenantContext
from gateway_proxy.mcp_endpoint.loopback import Loopback
from gateway_proxy.mcp_endpoint.stdio import LINE_LIMIT, StdioServer, Writer
from gateway_proxy.services import Services, open_services
from gateway_proxy.settings import Settings
from gateway_proxy.storage.sql.tenants import find_tenant_by_slug

LOCAL_OPERATOR: Final = "local-operator"
TENANT: Final = "default"


async def serve_stdio(settings: Settings) -> None:
    """Serve standard input and output until the input ends.

    Raises:
        NotFound: There is no tenant `default` yet.
    """
    async with open_services(settings) as services:
        tenant = await services.core.database.read(find_tenant_by_slug, slug=TENANT)
        if tenant is None:
            raise NotFound("tenant", TENANT)
        endpoint = mcp_endpoint(services)
        loopback = Loopback(endpoint, _context(services, tenant))
        reader, writer = await _standard_streams()
        try:
            await StdioServer(loopback, reader, writer).serve()
        finally:
            endpoint.close_streams()
            await endpoint.close()


def _context(services: Services, tenant: Tenant) -> TenantContext:
    """The local operator: no token, one tenant, only /mcp."""
    principal = Principal(
        token_id=LOCAL_OPERATOR,
        token_digest=b"",
        kind=TokenKind.PERSONAL,
        tenant_id=tenant.id,
        user_id=LOCAL_OPERATOR,
        role=Role.OWNER,
        client_id=None,
        scopes=frozenset({Scope.MCP.value}),
        audience=services.core.settings.public_url,
        expires_at=services.core.clock.now() + timedelta(days=36500),
    )
    return TenantContext(tenant=tenant, principal=principal)


async def _standard_streams() -> tuple[asyncio.StreamReader, Writer]:
    """Standard input and output: pipes as clients make them, or files as people do who try something."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    if _is_file(sys.stdin.buffer):
        reader.feed_data(sys.stdin.buffer.read())
        reader.feed_eof()
    else:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    if _is_file(sys.stdout.buffer):
        return reader, _FileWriter(sys.stdout.buffer)
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sys.stdout.buffer
    )
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


def _is_file(stream: BinaryIO) -> bool:
    """Whether no event loop can wait for it: it is always ready."""
    mode = os.fstat(stream.fileno()).st_mode
    return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not stream.isatty())


class _FileWriter:
    """A file in the place of a client's pipe."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        """Write a whole line."""
        self._file.write(data)
        self._file.flush()

    async def drain(self) -> None:
        """It is there already."""
