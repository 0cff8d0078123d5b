"""Checking the fields of client metadata, whether they come by registration (RFC 7591 §2) or in a metadata document.

A fixed set of fields is read; everything else is ignored, so nothing that a client sends is kept, fetched or shown
unless it is named here. No storage and no HTTP.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final, cast

from gateway_proxy.domain.oauth import ApplicationType, AuthMethod
from gateway_proxy.domain.oauth_errors import (
    ClientMetadataInvalid,
    RedirectUriInvalid,
)
from gateway_proxy.domain.principal import Scope
from gateway_proxy.oauth.redirect_uris import is_loopback, redirect_host, verify_redirect_uris
from gateway_proxy.oauth.vocabulary import AUTH_METHODS, GRANT_TYPES, SUPPORTED_SCOPES

MAXIMUM_NAME: Final = 100
MAXIMUM_URI: Final = 2048
MAXIMUM_LIST: Final = 20
_CLIENT_URI: Final = re.compile(r"https?://[A-Za-z0-9\-._~:/?#\[\]!$&'()*+,;=%@]+")
_BLANK: Final = re.compile("[\\s\u115f\u1160\u2800\u3164\uffa0]+")  # with the letters that look like nothing
_STACKED: Final = 4  # marks on one letter; more of them paint over the lines around
_UNSHOWABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # controls, bidi and zero-width, unassigned

Fields = Mapping[str, Any]


def read_redirect_uris(fields: Fields) -> tuple[str, ...]:
    """`redirect_uris`, checked against the policy.

    Raises:
        RedirectUriInvalid: Absent, not a list, or one that may not be registered.
    """
    uris = fields.get("redirect_uris")
    if not isinstance(uris, list):
        raise RedirectUriInvalid("given in a list")
    return verify_redirect_uris(uris)


def read_name(fields: Fields, redirect_uris: tuple[str, ...]) -> str:
    """`client_name`: what a person will see. Without one, the place where the answer goes.

    Raises:
        ClientMetadataInvalid: Over 100 characters, or with characters that could deceive (controls, bidi).
    """
    expected = f"at most {MAXIMUM_NAME} printable characters"
    given = _text(fields, "client_name", expected) or ""
    if len(given) > MAXIMUM_NAME or any(unicodedata.category(char) in _UNSHOWABLE for char in given):
        raise ClientMetadataInvalid("client_name", expected)
    name = _BLANK.sub(" ", given).strip()
    if _is_stacked(name):
        raise ClientMetadataInvalid("client_name", f"{expected}, with at most {_STACKED} marks on one letter")
    return name or redirect_host(redirect_uris[0])[:MAXIMUM_NAME]


def read_client_uri(fields: Fields) -> str | None:
    """`client_uri`: kept as text, never fetched.

    Raises:
        ClientMetadataInvalid: Not an http(s) URL of at most 2048 ASCII characters.
    """
    expected = f"an http or https URL of at most {MAXIMUM_URI} characters"
    uri = _text(fields, "client_uri", expected)
    if not uri:
        return None
    if len(uri) > MAXIMUM_URI or not _CLIENT_URI.fullmatch(uri):
        raise ClientMetadataInvalid("client_uri", expected)
    return uri


def read_grant_types(fields: Fields) -> tuple[str, ...]:
    """`grant_types`: those that we have, out of what was asked (RFC 7591 §2 lets us substitute).

    A client that names none gets both and is told so: without a refresh token it would have to send its user to the
    browser every hour, and rotation makes the refresh token the safer of the two.

    Raises:
        ClientMetadataInvalid: Without authorization_code the client could do nothing here.
    """
    asked = _texts(fields, "grant_types", default=GRANT_TYPES)
    if "authorization_code" not in asked:
        raise ClientMetadataInvalid("grant_types", "a list with authorization_code in it")
    return tuple(kind for kind in GRANT_TYPES if kind in asked)


def read_response_types(fields: Fields) -> tuple[str, ...]:
    """`response_types`: `code` is the only one.

    Raises:
        ClientMetadataInvalid: `code` was not asked for.
    """
    if "code" not in _texts(fields, "response_types", default=("code",)):
        raise ClientMetadataInvalid("response_types", "a list with code in it")
    return ("code",)


def read_auth_method(fields: Fields, *, default: AuthMethod) -> AuthMethod:
    """`token_endpoint_auth_method`.

    Raises:
        ClientMetadataInvalid: A method that we do not have.
    """
    expected = f"one of {', '.join(AUTH_METHODS)}"
    method = _text(fields, "token_endpoint_auth_method", expected)
    if method is None:
        return default
    if method not in AUTH_METHODS:
        raise ClientMetadataInvalid("token_endpoint_auth_method", expected)
    return cast(AuthMethod, method)


def can_be_public(fields: Fields) -> bool:
    """Whether a client can do without authentication: a document may prefer one method and name others besides
    (OpenID Connect RP Metadata Choices 1.0 §2), as ChatGPT's does.
    """
    others = fields.get("token_endpoint_auth_methods_supported")
    return fields.get("token_endpoint_auth_method") in (None, "none") or (isinstance(others, list) and "none" in others)


def read_application_type(fields: Fields, redirect_uris: tuple[str, ...]) -> ApplicationType:
    """`application_type` (OpenID Connect Registration §2); when absent, what the redirect URIs say.

    Raises:
        ClientMetadataInvalid: Neither web nor native.
    """
    expected = "web or native"
    kind = _text(fields, "application_type", expected)
    if kind is None:
        is_native = any(is_loopback(uri) or not uri.startswith("https:") for uri in redirect_uris)
        return "native" if is_native else "web"
    if kind not in ("web", "native"):
        raise ClientMetadataInvalid("application_type", expected)
    return cast(ApplicationType, kind)


def read_scope(fields: Fields) -> str:
    """`scope`: those of ours that the client limits itself to. Empty means no limit (a registration without scope).

    Raises:
        ClientMetadataInvalid: Not a string.
    """
    asked = (_text(fields, "scope", "a string of scope names") or "").split()
    known: tuple[Scope, ...] = tuple(scope for scope in SUPPORTED_SCOPES if scope in asked)
    return " ".join(known)


def _is_stacked(name: str) -> bool:
    marks = 0
    for char in name:
        marks = marks + 1 if unicodedata.category(char) in {"Mn", "Me"} else 0
        if marks > _STACKED:
            return True
    return False


def _text(fields: Fields, name: str, expected: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise ClientMetadataInvalid(name, expected)
    return value


def _texts(fields: Fields, name: str, *, default: tuple[str, ...]) -> tuple[str, ...]:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, list) or len(value) > MAXIMUM_LIST or not all(isinstance(one, str) for one in value):
        raise ClientMetadataInvalid(name, f"a list of at most {MAXIMUM_LIST} strings")
    return tuple(value)
