"""Which redirect URIs a client may register, and when a requested one is the registered one (RFC 9700 §4.1, RFC 8252).

Only an allow-list of shapes; comparison is of strings, without any normalisation. The single exception is the port of
a loopback URI. No page and no fetch.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urlsplit

from gateway_proxy.domain.oauth_errors import (
    RedirectUriInvalid,
)

MAXIMUM_COUNT: Final = 10
MAXIMUM_LENGTH: Final = 2048
MAXIMUM_HOST_LENGTH: Final = 240  # the recorded redirect host has room for 255
PRIVATE_SCHEMES: Final = frozenset(  # what known MCP clients answer to, and the editors in which such clients run
    {
        *("cursor", "mcpjam", "raycast", "warp"),
        *("antigravity", "code-oss", "kiro", "trae", "vscode", "vscode-insiders", "vscodium", "windsurf"),
    }
)

_VISIBLE: Final = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()+,;=%]+")  # RFC 3986 without '#' and '*'
_HTTPS: Final = re.compile(
    r"https://(?P<host>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?:[/?].*)?"
)
_LOOPBACK: Final = re.compile(
    r"http://(?P<host>127\.0\.0\.1|\[::1\]|localhost)(?::(?P<port>[0-9]{1,5}))?(?P<rest>(?:[/?].*)?)"
)
_PRIVATE: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*):(?P<rest>/.*)")
_AMBIGUOUS: Final = re.compile(r"[@\[\]]")
_REVERSE_DNS: Final = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+")


def verify_redirect_uris(uris: Iterable[object]) -> tuple[str, ...]:
    """Check the redirect URIs of a registration or a metadata document; at least one, at most ten.

    Raises:
        RedirectUriInvalid: Saying what was expected.
    """
    listed = list(uris)
    if not 1 <= len(listed) <= MAXIMUM_COUNT:
        raise RedirectUriInvalid(f"listed, at least one and at most {MAXIMUM_COUNT}")
    return tuple(_verified(uri) for uri in listed)


def _verified(uri: object) -> str:
    if not isinstance(uri, str) or len(uri) > MAXIMUM_LENGTH or not _VISIBLE.fullmatch(uri):
        raise RedirectUriInvalid(f"a URI of at most {MAXIMUM_LENGTH} visible ASCII characters without '#' and '*'")
    if not (_is_https(uri) or is_loopback(uri) or _is_private_use(uri)):
        raise RedirectUriInvalid("https, http on 127.0.0.1, [::1] or localhost, or an app's own scheme")
    return uri


def find_registered(requested: str, registered: Iterable[str]) -> str | None:
    """The registered URI that a requested one stands for: the same string, or loopback with another port."""
    loopback = _loopback_parts(requested)
    for uri in registered:
        if uri == requested or (loopback is not None and _loopback_parts(uri) == loopback):
            return uri
    return None


def is_loopback(uri: str) -> bool:
    """Whether a URI is http on this very machine, where any local program may listen."""
    return _loopback_parts(uri) is not None


def redirect_host(uri: str) -> str:
    """What to show a person, and to record, as the place where an answer goes: host (and port), or `scheme:`."""
    loopback = _LOOPBACK.fullmatch(uri)
    if loopback is not None:
        return loopback["host"]
    parts = urlsplit(uri)
    return parts.netloc.lower() if parts.scheme == "https" else f"{parts.scheme}:"


def _loopback_parts(uri: str) -> tuple[str, str] | None:
    match = _LOOPBACK.fullmatch(uri)
    if match is None or not _is_port(match["port"]):
        return None
    return match["host"], match["rest"]


def _is_https(uri: str) -> bool:
    match = _HTTPS.fullmatch(uri)
    if match is None or len(match["host"]) > MAXIMUM_HOST_LENGTH or not _is_port(match["port"]):
        return False
    return not match["host"].startswith("[") or _is_ipv6(match["host"][1:-1])


def _is_private_use(uri: str) -> bool:
    match = _PRIVATE.fullmatch(uri)
    if match is None:
        return False
    scheme = match["scheme"]
    is_known = scheme in PRIVATE_SCHEMES or _REVERSE_DNS.fullmatch(scheme) is not None
    return is_known and len(scheme) <= MAXIMUM_HOST_LENGTH and not _AMBIGUOUS.search(_authority_of(match["rest"]))


def _authority_of(rest: str) -> str:
    """What stands between `//` and the path. User info and brackets in it are read differently by different readers."""
    return re.split("[/?]", rest[2:], maxsplit=1)[0] if rest.startswith("//") else ""


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_port(text: str | None) -> bool:
    return text is None or 1 <= int(text) <= 65535
