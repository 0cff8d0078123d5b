"""Opening the database for a command, once it is known to have this version's schema. No command stands here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway_proxy.cli.environment import read_surroundings
from gateway_proxy.domain.errors import SchemaMismatch
from gateway_proxy.foundation import Core, open_core
from gateway_proxy.settings import Settings
from gateway_proxy.storage.sql.schema_version import SCHEMA_VERSION, find_schema_version
from gateway_proxy.storage.sql.waiting import COMMAND_SECONDS


@asynccontextmanager
async def open_migrated(settings: Settings | None = None) -> AsyncIterator[Core]:
    """The database and the keys, for as long as the context lasts.

    Raises:
        SchemaMismatch: The schema is missing or of another version.
        SettingsInvalid: The environment is not complete.
    """
    settings = settings or read_surroundings().settings
    async with open_core(settings, deadline=COMMAND_SECONDS) as core:
        version = await core.database.read(find_schema_version)
        if version != SCHEMA_VERSION:
            raise SchemaMismatch(version, SCHEMA_VERSION)
        yield core
