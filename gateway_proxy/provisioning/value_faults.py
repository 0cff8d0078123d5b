"""What is wrong with one value by itself, in words: for whatever reads such values, files, requests and environment."""

import re
from typing import Final
from urllib.parse import urlsplit

from gateway_proxy.auth.bearer import MAXIMUM_LENGTH
from gateway_proxy.domain.ids import SECRET_PREFIXES
from gateway_proxy.provisioning.shapes import ASSISTANT_NAME
from gateway_proxy.sealing.key_digests import SHORTEST_KEY

_ASSISTANT_NAME: Final = re.compile(ASSISTANT_NAME)
_VISIBLE: Final = re.compile(r"[\x21-\x7e]*\Z")


def assistant_name_fault(name: str) -> str | None:
    """What is wrong with the name of an assistant, or None. It is the id of a model, and stands in paths as such."""
    if name.isprintable() and _ASSISTANT_NAME.fullmatch(name):
        return None
    return "expected 1 to 64 printable characters, none of ?#%\\, no dot at the beginning, no blank or slash at an end"


def url_fault(url: str) -> str | None:
    """What is wrong with the URL of an upstream, or None. The URL itself is not repeated: its query may be a secret."""
    if not url.isprintable() or " " in url:
        return "expected a URL without spaces and control characters"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "expected a URL such as https://host/path"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "expected a URL that starts with https:// or http:// and names a host"
    if parts.username is not None or parts.password is not None:
        return "expected no user or password in the URL; put credentials in headers, which are encrypted at rest"
    if parts.fragment:
        return "expected no #fragment"
    return None


def static_key_fault(key: str) -> str | None:
    """What is wrong with a key that an operator chose, or None. It must be long enough not to be guessed over HTTP."""
    if len(key) < SHORTEST_KEY or not _VISIBLE.match(key):
        return f"expected at least {SHORTEST_KEY} visible ASCII characters without blanks"
    if len(key) > MAXIMUM_LENGTH:
        return f"expected at most {MAXIMUM_LENGTH} characters"
    if key.startswith(SECRET_PREFIXES):
        return "expected another beginning: it looks like a token of the gateway itself"
    return None
