"""Opening the database for a command, once it is known to have this version's schema. No command stands here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway_proxy.cli.environment import read_surroundings
from gateway_proxy.domain.errors import SchemaMismatch
from gateway_proxy.services import Core, open_core
from gateway_proxy.settings import Settings
from gateway_proxy.storage.sql.migrate import current_revision, head_revision
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
        revision, wanted = await current_revision(settings.database_url), head_revision()
        if revision != wanted:
            raise SchemaMismatch(revision, wanted)
        yield core
