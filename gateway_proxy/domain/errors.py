"""Everything that can go wrong, by reason. Fields instead of prose; no status codes: each surface maps reasons to wire.

`GatewayError` is the root. The direct subclasses are families that a surface may map as a whole when it cannot
meet their leaves; the leaves say what happened. A test asserts that every leaf reaches a wire code.
"""

from dataclasses import dataclass


class GatewayError(Exception):
    """The root of all our errors. Never raised itself."""


# --- the caller's token -------------------------------------------------------------------------------------------
class AuthError(GatewayError):
    """The request carries no acceptable credential."""


class TokenMissing(AuthError):
    """No bearer token was sent. Another scheme counts as none (RFC 6750 §3.1)."""


class TokenMalformed(AuthError):
    """More than one credential, characters that no token has, or a token over the length cap."""


class TokenInvalid(AuthError):
    """Unknown, expired or revoked; the three are not told apart."""


@dataclass(eq=False)
class ScopeInsufficient(AuthError):
    """The token is good but does not carry what the surface asks for. `required` are scope names."""

    required: frozenset[str]


# --- people in a browser ------------------------------------------------------------------------------------------
class BrowserError(GatewayError):
    """About a person's sign-in, password or form."""


class SignInRefused(BrowserError):
    """Unknown address, wrong password, no password or a disabled account; the four are not told apart."""


class CsrfFailed(BrowserError):
    """A form came from another site, another browser, or too late."""


@dataclass(eq=False)
class FormInvalid(BrowserError):
    """A form could not be read, or a field of it does not fit: `field` is its name, `fault` one sentence."""

    field: str
    fault: str


@dataclass(eq=False)
class PasswordUnacceptable(BrowserError):
    """A new password is too short or too long. `minimum` and `maximum` are bytes in UTF-8."""

    minimum: int
    maximum: int

    def __str__(self) -> str:
        return f"a password has {self.minimum} to {self.maximum} bytes"


# --- the relay ----------------------------------------------------------------------------------------------------
class RelayError(GatewayError):
    """A message could not be relayed."""


@dataclass(eq=False)
class HeaderMismatch(RelayError):
    """A header that repeats an argument does not agree with it. `fault` is a phrase of ours that names the header."""

    fault: str


@dataclass(eq=False)
class ToolUnknown(RelayError):
    """No tool of that name in this tenant. A foreign tool is the same as an unknown one."""

    name: str


@dataclass(eq=False)
class PromptUnknown(RelayError):
    """No prompt of that name in this tenant."""

    name: str


@dataclass(eq=False)
class ResourceUnknown(RelayError):
    """No backend of this tenant answers for that URI."""

    uri: str


@dataclass(eq=False)
class MethodUnknown(RelayError):
    """A method that the gateway does not know, in a tenant where it is not clear which backend would."""

    method: str


@dataclass(eq=False)
class CursorInvalid(RelayError):
    """A pagination cursor that we did not mint."""


@dataclass(eq=False)
class BackendUnavailable(RelayError):
    """The backend could not be reached, is being restarted, or its breaker is open. `retry_after` in seconds.

    `reason` is one of our own phrases, fit for the tenant's administrators. `is_starting` says that nothing has failed:
    its start takes longer than a caller waits, and goes on.
    """

    backend: str
    retry_after: float | None = None
    reason: str = "it cannot be reached"
    is_starting: bool = False


@dataclass(eq=False)
class BackendTimeout(RelayError):
    """The backend did not answer within `seconds`."""

    backend: str
    seconds: float


@dataclass(eq=False)
class BackendMisbehaved(RelayError):
    """The backend broke the protocol: not JSON, wrong id, a redirect, a result that ended half-way. `fault` is ours."""

    backend: str
    fault: str


@dataclass(eq=False)
class ResultTooLarge(RelayError):
    """The backend's answer is over the size limit."""

    backend: str
    limit: int


@dataclass(eq=False)
class BackendRefusedCredentials(RelayError):
    """The backend answered 401 or 403 to the credentials that the tenant configured for it."""

    backend: str


# --- MCP sessions -------------------------------------------------------------------------------------------------
class SessionError(GatewayError):
    """About a client's MCP session."""


class SessionUnknown(SessionError):
    """Never issued, expired, ended, or somebody else's: one answer for all four."""


@dataclass(eq=False)
class SessionLimitReached(SessionError):
    """The user has as many open sessions as allowed."""

    limit: int


@dataclass(eq=False)
class LetterTooLarge(SessionError):
    """What a client answered is too large to be carried to the worker that waits. `limit` in bytes."""

    limit: int


# --- outbound requests --------------------------------------------------------------------------------------------
class EgressError(GatewayError):
    """The egress guard would not, or could not, make an outbound request."""


@dataclass(eq=False)
class AddressForbidden(EgressError):
    """The URL, or an address its host resolves to, may not be reached. `reason` is one of our own phrases."""

    host: str
    reason: str = "not a public address"


@dataclass(eq=False)
class FetchFailed(EgressError):
    """A guarded fetch failed: `fault` is one of our own words (timeout, status 404, too large, not https, …)."""

    host: str
    fault: str


@dataclass(eq=False)
class ConnectFailed(EgressError):
    """No connection could be made; the other side has seen nothing of the request."""

    host: str
    fault: str


@dataclass(eq=False)
class ReplyBroken(EgressError):
    """The connection ended, or spoke no HTTP, after the request went out; it may have been acted upon."""

    host: str
    fault: str


@dataclass(eq=False)
class ReplyTooLarge(EgressError):
    """A reply's head or body is over `limit` bytes."""

    host: str
    limit: int


@dataclass(eq=False)
class ReplyTimedOut(EgressError):
    """The other side kept us waiting for `seconds`."""

    host: str
    seconds: float


# --- limits -------------------------------------------------------------------------------------------------------
class LimitError(GatewayError):
    """A rate limit or quota."""


@dataclass(eq=False)
class RateLimited(LimitError):
    """Too many requests of this kind; try again in `retry_after` seconds."""

    retry_after: float


# --- secrets at rest ----------------------------------------------------------------------------------------------
class SealingError(GatewayError):
    """About encryption at rest."""


@dataclass(eq=False)
class KeyUnknown(SealingError):
    """A value is sealed under a key that is not configured."""

    key_id: str


class SealBroken(SealingError):
    """A sealed value was altered, or moved to another row, column or tenant."""


@dataclass(eq=False)
class SecretsUnreadable(SealingError):
    """Stored secrets do not open with the configured keys; each problem names where they stand, never a value."""

    problems: tuple[str, ...]


# --- configuration ------------------------------------------------------------------------------------------------
class ConfigError(GatewayError):
    """What the operator wrote cannot be used."""


@dataclass(eq=False)
class SettingsInvalid(ConfigError):
    """Environment settings are missing or wrong; all of them at once, one sentence each."""

    problems: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(self.problems)


@dataclass(eq=False)
class ConfigFileInvalid(ConfigError):
    """A configuration file does not fit; each problem names the key and what was expected."""

    problems: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(self.problems)


@dataclass(eq=False)
class TrialFailed(ConfigError):
    """Backends that were to be defined cannot be connected to, so none was stored; each problem names one, and why."""

    problems: tuple[str, ...]


@dataclass(eq=False)
class ProviderInUse(ConfigError):
    """A provider cannot be removed while assistants name it; they would answer nothing any more."""

    provider: str
    assistants: tuple[str, ...]


# --- storage ------------------------------------------------------------------------------------------------------
class StorageError(GatewayError):
    """About what is stored."""


class StorageUnavailable(StorageError):
    """The database or Redis cannot be reached or is out of connections."""


@dataclass(eq=False)
class AlreadyExists(StorageError):
    """A row with that natural key exists. `noun` is what, `key` which."""

    noun: str
    key: str


@dataclass(eq=False)
class NotFound(StorageError):
    """No such row in this tenant."""

    noun: str
    key: str


@dataclass(eq=False)
class SchemaMismatch(StorageError):
    """The database is at another schema than this version's; `revision` is None when it has none."""

    revision: str | None
    wanted: str


# --- backups ------------------------------------------------------------------------------------------------------
class BackupError(GatewayError):
    """A backup could not be written or restored."""


@dataclass(eq=False)
class BackupInvalid(BackupError):
    """A file cannot be restored; `fault` says why: no backup, cut off, damaged, or of a version unknown here."""

    fault: str


@dataclass(eq=False)
class DatabaseNotEmpty(BackupError):
    """There are rows where a backup was to be restored; `is_ours` says whether they are a gateway's."""

    is_ours: bool
