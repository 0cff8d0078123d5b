"""Checking an authorization request (RFC 6749 §4.1.1, RFC 7636, RFC 8707, OAuth 2.1 §4.1.1). Nobody is asked here yet.

The order is the safety: first the client and its redirect URI, and a fault there is shown on a page; only then what
may be reported to the redirect URI.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gateway_proxy.domain.oauth import Client
from gateway_proxy.domain.oauth_errors import (
    GrantTypeForbidden,
    OAuthError,
    ParameterInvalid,
    ParameterMissing,
    ParameterRepeated,
    RedirectUriUnknown,
    RequestObjectUnsupported,
    ResourceUnknown,
    ResponseTypeUnsupported,
)
from gateway_proxy.domain.principal import Scope
from gateway_proxy.oauth.errors import to_wire
from gateway_proxy.oauth.known_clients import KnownClients
from gateway_proxy.oauth.parameters import Parameters
from gateway_proxy.oauth.redirect_uris import find_registered
from gateway_proxy.oauth.vocabulary import STATE_LIMIT, SUPPORTED_SCOPES, OAuthConfig

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_SECONDS: Final = re.compile(r"[0-9]{1,8}")
_PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})


@dataclass(frozen=True)
class AuthorizationRequest:
    """An authorization request that may be shown to a user. `scope` and `resource` are what will be granted.

    `redirect_uri` is where the answer goes; `is_redirect_uri_sent` is False when the client left it to its
    registration, in which case it need not repeat it at the token endpoint (RFC 6749 §4.1.3). `prompt` and `max_age`
    are as in OpenID Connect Core §3.1.2.1: how recently the password must have been asked for.
    """

    client: Client
    redirect_uri: str
    is_redirect_uri_sent: bool
    scope: tuple[str, ...]
    state: str | None
    resource: str
    code_challenge: str
    prompt: frozenset[str]
    max_age: timedelta | None = None


class ClientPageError(Exception):
    """A fault that is shown on a page, because the client or its redirect URI is not established."""

    def __init__(self, reason: OAuthError) -> None:
        super().__init__()
        self.reason = reason


class RedirectableError(Exception):
    """A fault that is reported to the client's redirect URI (RFC 6749 §4.1.2.1)."""

    def __init__(self, reason: OAuthError, *, client: Client, redirect_uri: str, state: str | None) -> None:
        super().__init__()
        wire = to_wire(reason)
        self.reason = reason
        self.client = client
        self.redirect_uri = redirect_uri
        self.error = wire.error
        self.description = wire.description
        self.state = state


@dataclass(frozen=True)
class AuthorizationRequests:
    """Validates authorization requests."""

    config: OAuthConfig
    clients: KnownClients

    async def validate(self, parameters: Parameters, *, address: str) -> AuthorizationRequest:
        """Check everything that can be checked before a user is known.

        Raises:
            ClientPageError: The client or the redirect URI is not established.
            RedirectableError: Anything else that is wrong with the request.
            RateLimited: Too many metadata documents asked for from this address.
        """
        try:
            client = await self._get_client(parameters, address)
            redirect_uri = _get_redirect_uri(parameters, client)
        except OAuthError as reason:
            raise ClientPageError(reason) from None
        state = None
        try:
            state = _read_state(parameters)
            return self._validate_rest(parameters, client, redirect_uri, state)
        except OAuthError as reason:
            raise RedirectableError(reason, client=client, redirect_uri=redirect_uri, state=state) from None

    async def _get_client(self, parameters: Parameters, address: str) -> Client:
        if "client_id" in parameters.repeated:
            raise ParameterRepeated("client_id")
        return await self.clients.get(parameters.get("client_id"), address=address)

    def _validate_rest(
        self, parameters: Parameters, client: Client, redirect_uri: str, state: str | None
    ) -> AuthorizationRequest:
        parameters.verify_none_repeated()
        for name in ("request", "request_uri"):
            if parameters.find(name) is not None:
                raise RequestObjectUnsupported(name)
        _verify_response(parameters, client)
        return AuthorizationRequest(
            client=client,
            redirect_uri=redirect_uri,
            is_redirect_uri_sent=parameters.find("redirect_uri") is not None,
            resource=(resource := self.read_resource(parameters)),
            scope=self._read_scope(parameters, client, resource),
            state=state,
            code_challenge=_read_challenge(parameters),
            prompt=_read_prompt(parameters),
            max_age=_read_max_age(parameters),
        )

    def read_resource(self, parameters: Parameters) -> str:
        """The requested resource (RFC 8707 §2), without the trailing slash that some clients add.

        Raises:
            ResourceUnknown: Not one of ours.
        """
        return find_resource(self.config, parameters.find("resource")) or self.config.default_resource

    def _read_scope(self, parameters: Parameters, client: Client, resource: str) -> tuple[str, ...]:
        """What is granted of what was asked: unknown names are dropped, an empty rest means the resource's default."""
        asked = (parameters.find("scope") or "").split()
        allowed = set(client.scope.split()) | {Scope.OFFLINE_ACCESS} if client.scope else set(SUPPORTED_SCOPES)
        granted = [scope.value for scope in SUPPORTED_SCOPES if scope in asked and scope in allowed]
        if not set(granted) - {Scope.OFFLINE_ACCESS}:
            default = self.config.resources[resource]
            if default not in allowed:
                raise ParameterInvalid("scope", "within what the client registered")
            granted.insert(0, default.value)
        return tuple(granted)


def find_resource(config: OAuthConfig, asked: str | None) -> str | None:
    """The canonical form of a `resource` parameter, None when it is absent.

    Raises:
        ResourceUnknown: Not one of ours, with or without one trailing slash, the scheme and host in any case.
    """
    if asked is None:
        return None
    scheme, divider, rest = asked.removesuffix("/").partition("://")
    host, slash, path = rest.partition("/")
    canonical = f"{scheme.lower()}{divider}{host.lower()}{slash}{path}"
    if canonical not in config.resources:
        raise ResourceUnknown
    return canonical


def _get_redirect_uri(parameters: Parameters, client: Client) -> str:
    if "redirect_uri" in parameters.repeated:
        raise ParameterRepeated("redirect_uri")
    requested = parameters.find("redirect_uri")
    if requested is None:
        if len(client.redirect_uris) != 1:
            raise ParameterMissing("redirect_uri")
        return client.redirect_uris[0]
    if find_registered(requested, client.redirect_uris) is None:
        raise RedirectUriUnknown
    return requested


def _read_state(parameters: Parameters) -> str | None:
    if "state" in parameters.repeated:
        raise ParameterRepeated("state")
    state = parameters.find("state")
    if state is not None and len(state.encode()) > STATE_LIMIT:
        raise ParameterInvalid("state", f"at most {STATE_LIMIT} bytes")
    return state


def _verify_response(parameters: Parameters, client: Client) -> None:
    if parameters.get("response_type") != "code":
        raise ResponseTypeUnsupported
    if "code" not in client.response_types or "authorization_code" not in client.grant_types:
        raise GrantTypeForbidden
    if parameters.find("response_mode") not in (None, "query"):
        raise ParameterInvalid("response_mode", "query")


def _read_challenge(parameters: Parameters) -> str:
    challenge = parameters.get("code_challenge")
    if parameters.get("code_challenge_method") != "S256":
        raise ParameterInvalid("code_challenge_method", "S256")
    if not _CHALLENGE.fullmatch(challenge):
        raise ParameterInvalid("code_challenge", "43 characters of base64url")
    return challenge


def _read_prompt(parameters: Parameters) -> frozenset[str]:
    prompt = frozenset((parameters.find("prompt") or "").split()) & _PROMPTS
    if "none" in prompt and len(prompt) > 1:
        raise ParameterInvalid("prompt", "none alone, or not none")
    return prompt


def _read_max_age(parameters: Parameters) -> timedelta | None:
    """`max_age`. What is no number of seconds counts as absent: OAuth does not know the parameter."""
    text = parameters.find("max_age") or ""
    return timedelta(seconds=int(text)) if _SECONDS.fullmatch(text) else None
