"""Reasons → sentences for the person at the terminal. The one table of this surface; a secret never stands in it."""

import re

from gateway_proxy.domain import errors


def sentences(error: errors.GatewayError) -> tuple[str, ...]:
    """What happened and what to do about it, one line each."""
    match error:
        case errors.SettingsInvalid(problems=problems) | errors.ConfigFileInvalid(problems=problems):
            return problems
        case errors.SecretsUnreadable(problems=problems):
            return problems
        case errors.StorageError() | errors.BackupError():
            return (_about_the_database(error) or _name(error),)
        case errors.KeyUnknown(key_id=key_id):
            return (f"a stored secret is sealed under key {key_id}, which is not in GATEWAY_SECRET_KEYS",)
        case errors.SealBroken():
            return ("a stored secret was altered or moved, and cannot be opened",)
        case errors.PasswordUnacceptable(minimum=minimum, maximum=maximum):
            return (f"expected a password of {minimum} to {maximum} bytes",)
        case _:
            return (_name(error),)


def _about_the_database(error: errors.StorageError | errors.BackupError) -> str | None:
    match error:
        case errors.StorageUnavailable():
            return "the database cannot be reached; check GATEWAY_DATABASE_URL and that the database is running"
        case errors.AlreadyExists(noun=noun, key=key):
            return f'{noun} "{key}" exists already'
        case errors.NotFound(noun=noun, key=key):
            return f'no {noun} "{key}"'
        case errors.SchemaMismatch(revision=None):
            return "the database has no schema yet; run `gateway-proxy migrate` first"
        case errors.SchemaMismatch(revision=revision, wanted=wanted):
            found = f"the database is at schema {revision} and this version needs {wanted}"
            return f"{found}; run `gateway-proxy migrate` first"
        case errors.BackupInvalid(fault=fault):
            return f"the backup cannot be restored: {fault}"
        case errors.DatabaseNotEmpty(is_ours=True):
            return "the database has rows already; --replace removes them before it restores"
        case errors.DatabaseNotEmpty():
            return "the database has tables of another program with rows; give the gateway a database of its own"
    return None


def _name(error: errors.GatewayError) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower()
