"""Schema, first state, configuration: everything that has to be in the database before a worker looks.

For `serve` over HTTP this runs in a process of its own (`preparing`), so nothing that the supervisor keeps may be here.
"""

import importlib
from collections.abc import Callable
from pathlib import Path

from gateway_proxy.cli.bootstrap import bootstrap
from gateway_proxy.cli.environment import Surroundings
from gateway_proxy.cli.key_check import check_keys
from gateway_proxy.cli.wanted import Wanted, read_wanted
from gateway_proxy.cli.welcome import program_path, welcome
from gateway_proxy.foundation import Core, open_core
from gateway_proxy.provisioning.apply import apply
from gateway_proxy.storage.sql.schema_version import SCHEMA_VERSION, find_schema_version
from gateway_proxy.storage.sql.tenant_wall import find_tenant_wall
from gateway_proxy.storage.sql.waiting import COMMAND_SECONDS
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)


async def prepare(
    surroundings: Surroundings, config: Path | None, *, first_look: bool, tell: Callable[[str], None]
) -> None:
    """Bring the database to what this version, the file and the environment say, and `tell` a first look what it needs.

    The file is read before the database is touched. A first look is told as soon as its secrets are stored, whatever
    fails then: nobody can tell it later.

    Raises:
        GatewayError: It cannot be done, or a configuration does not hold.
    """
    settings = surroundings.settings
    wanted = read_wanted(config or surroundings.older_config, surroundings.environ)
    for notice in wanted.notices:
        log.warning("older_environment_name", notice=notice)
    async with open_core(settings, deadline=COMMAND_SECONDS) as core:
        if await core.database.read(find_schema_version) != SCHEMA_VERSION:
            await importlib.import_module("gateway_proxy.storage.sql.migrate").upgrade(settings.database_url)
        await check_keys(core)
        await _check_wall(core)
        if first_look:
            tell(welcome(settings.public_url, await bootstrap(core), program=program_path()))
        await _apply(core, wanted)


async def _check_wall(core: Core) -> None:
    """Security T2: the first wall is enough, but whoever counts on the second is told when it does not stand."""
    wall = await core.database.read(find_tenant_wall)
    if wall is not None and wall.gap is not None:
        log.warning("tenant_wall_missing", reason=wall.gap)


async def _apply(core: Core, wanted: Wanted) -> None:
    for state in wanted.states:
        report = await apply(core.database, core.keyring, core.hasher, core.clock, state)
        for change in report.changes:
            log.info("configuration_changed", change=str(change))
        for notice in report.notices:
            log.warning("configuration_not_applied", notice=notice)
