"""Backend definitions that come over HTTP, read and held against who sends them (contract, Surfaces).

`${VAR}` is not expanded here, as it is in the operator's files: it would hand the gateway's own environment to whoever
may define a server. What needs the network or the database to be judged is judged in `backend_edits`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gateway_proxy.domain.backend import Backend, Origin
from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.provisioning.conversion import convert_struct
from gateway_proxy.provisioning.problems import KeyPath, Problems
from gateway_proxy.provisioning.rules import Rules
from gateway_proxy.provisioning.shapes import SERVER_NAME, DesktopShape, ServerShape
from gateway_proxy.provisioning.strict_json import parse_json

REDACTED: Final = "[redacted]"
MOST_AT_ONCE: Final = 20
OPERATOR_ONLY: Final = ("command", "cwd", "env")
_BY_OPERATOR: Final = "only the operator may set this: in the configuration file, on the command line, by platform key"
_SERVERS: Final = "mcpServers"
_SERVER_NAME: Final = re.compile(SERVER_NAME)


@dataclass(frozen=True, slots=True)
class Definition:
    """One backend as somebody wants it, without a place yet, and the key path at which it was written."""

    backend: Backend
    path: KeyPath


def parse_text(content: bytes) -> Any:
    """JSON in UTF-8, with duplicate keys, NaN and halves of characters refused.

    Raises:
        ConfigFileInvalid: It is not; says where.
    """
    try:
        document = parse_json(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigFileInvalid((f"expected UTF-8 text; byte {error.start} is not",)) from None
    if any(not _is_whole(text) for text in _texts(document)):
        raise ConfigFileInvalid(("expected whole characters; an escape such as \\ud800 is half of one",))
    return document


def read_servers(document: Any, *, origin: Origin) -> tuple[Definition, ...]:
    """`{"mcpServers": {name: definition, …}}`, as in the file of a desktop client.

    Raises:
        ConfigFileInvalid: Naming everything that does not fit, or that `origin` may not define.
    """
    problems = Problems()
    shape = convert_struct(document, DesktopShape, (), problems)
    servers = {} if shape is None else shape.mcp_servers
    if shape is not None and not 1 <= len(servers) <= MOST_AT_ONCE:
        problems.add((_SERVERS,), f"expected 1 to {MOST_AT_ONCE} servers")
    read = [_read(name, server, (_SERVERS, name), origin, problems) for name, server in servers.items()]
    problems.raise_if_any()
    return tuple(definition for definition in read if definition is not None)


def read_server(name: str, document: Any, *, origin: Origin) -> Definition:
    """The definition of one server. Its name is known already; the document may repeat it.

    Raises:
        ConfigFileInvalid: As for `read_servers`.
    """
    problems = Problems()
    if not is_server_name(name):
        problems.add(("name",), "expected 1 to 31 letters, digits and hyphens, beginning with a letter or digit")
    if isinstance(document, dict) and "name" in document:
        if document["name"] != name:
            problems.add(("name",), "expected the name that stands in the path, or none")
        document = {key: value for key, value in document.items() if key != "name"}
    shape = convert_struct(document, ServerShape, (), problems)
    definition = None if shape is None else _read(name, shape, (), origin, problems)
    problems.raise_if_any()
    assert definition is not None  # else there was a problem
    return definition


def refuse_redacted(written: Iterable[tuple[KeyPath, str]], problems: Problems) -> None:
    """What an answer of ours showed as redacted would otherwise be stored as the secret."""
    for path, text in written:
        if REDACTED in text:
            problems.add(path, "expected the value itself; what is shown as redacted has to be sent again")


def is_server_name(name: str) -> bool:
    """Whether a server may have that name; what may not stands in no database and needs no look."""
    return _SERVER_NAME.fullmatch(name) is not None


def _read(name: str, shape: ServerShape, path: KeyPath, origin: Origin, problems: Problems) -> Definition | None:
    for key in OPERATOR_ONLY:
        if origin == "tenant" and getattr(shape, key):
            problems.add((*path, key), _BY_OPERATOR)
    if shape.cwd is not None and not Path(shape.cwd).is_absolute():
        problems.add((*path, "cwd"), "expected an absolute path")
    refuse_redacted(_written(shape, path), problems)
    backend = Rules(problems, Path("/")).backend(name, shape, path)
    return None if backend is None else Definition(replace(backend, origin=origin), path)


def _written(shape: ServerShape, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Whatever an answer may show as redacted."""
    yield (*path, "url"), shape.url or ""
    yield (*path, "base_url"), shape.base_url or ""
    for number, text in enumerate(shape.args):
        yield (*path, "args", number), text
    for key in ("env", "headers"):
        entries: Mapping[str, str] = getattr(shape, key)
        for name, text in entries.items():
            yield (*path, key, name), text


def _texts(document: Any) -> Iterator[str]:
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            left += value


def _is_whole(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
