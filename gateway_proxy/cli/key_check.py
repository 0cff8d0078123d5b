"""Before serving: do the configured secret keys open what is stored? A wrong key must not be found out call by call.

None of the stored secrets opens: the start is refused, because that is a wrong key. Some do not: the service starts,
and names them (security F16).
"""

from typing import Final

from gateway_proxy.domain.errors import SecretsUnreadable
from gateway_proxy.foundation import Core
from gateway_proxy.storage.sql.resealing import count_sealed, list_foreign
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

NAMED: Final = 100


async def check_keys(core: Core) -> None:
    """Name in the log what cannot be opened.

    Raises:
        SecretsUnreadable: Nothing that is stored can be opened.
    """
    counts = await core.database.read(count_sealed)
    foreign = {key_id for _, key_id in counts if key_id not in core.keyring.key_ids}
    if not foreign:
        return
    if len(foreign) == len({key_id for _, key_id in counts}):
        raise SecretsUnreadable((_wrong_key(sum(counts.values()), sorted(foreign)),))
    for entry in await core.database.read(list_foreign, keyring=core.keyring, limit=NAMED):
        row = entry.row
        log.warning(
            "secret_unreadable",
            table=row.table,
            tenant=row.tenant,
            name=row.name,
            column=entry.column,
            key_id=entry.key_id,
        )


def _wrong_key(number: int, key_ids: list[str]) -> str:
    secrets = "the one stored secret does not open" if number == 1 else f"none of the {number} stored secrets opens"
    return (
        f"{secrets} with GATEWAY_SECRET_KEYS; put back the key with the id {' and '.join(key_ids)}. If it is lost: "
        "`gateway-proxy apply FILE` writes anew what a configuration file defines, and "
        "`gateway-proxy keys rotate --remove-unreadable` removes the rest"
    )
