"""Where calls go: the server URL of a document, held to the origin that the definition allows (security.md E3)."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from gateway_proxy.domain.errors import AddressForbidden
from gateway_proxy.egress.origin import parse_target

MAX_SERVER: Final = 2048


class Base(NamedTuple):
    """Calls go to the origin of `url`, under its path. `is_moved` says that the document named another origin."""

    url: str
    prefix: str
    is_moved: bool = False


def server_of(servers: Any) -> str | None:
    """The first server URL as written, its variables at their defaults; None when there is none."""
    if not isinstance(servers, list) or not servers or not isinstance(servers[0], Mapping):
        return None
    url, variables = servers[0].get("url"), servers[0].get("variables")
    if not isinstance(url, str) or len(url) > MAX_SERVER:
        return None
    if isinstance(variables, Mapping):
        for name, variable in variables.items():
            if isinstance(variable, Mapping) and isinstance(variable.get("default"), str | int | float):
                url = url.replace(f"{{{name}}}", str(variable["default"]))
    return url.strip() or None


def base_of(document_url: str, server: str | None, base_url: str | None) -> Base:
    """Where the operations of a document are.

    The definition's `base_url` decides alone. Without it the document's first server counts, resolved against the
    document's own URL; when it names another origin, only its path is taken.

    Raises:
        AddressForbidden: The definition's own URL is not one.
    """
    if base_url is not None:
        return Base(base_url, parse_target(base_url).path.rstrip("/"))
    own = parse_target(document_url)
    origin = f"{own.scheme}://{own.authority}"
    try:
        target = parse_target(_bare(urljoin(document_url, server if server is not None else "/")))
    except (AddressForbidden, ValueError):
        return Base(f"{origin}/", "", is_moved=True)
    same = (target.scheme, target.host, target.port) == (own.scheme, own.host, own.port)
    return Base(f"{origin}{target.path}", target.path.rstrip("/"), is_moved=not same)


def _bare(url: str) -> str:
    """Without query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
