"""Bytes → the tree of an OpenAPI document. It knows JSON, YAML and the version line; nothing of operations."""

import re
from typing import Any, Final

import msgspec
import yaml

from gateway_proxy.backends.openapi.plan import MAX_DOCUMENT

MAX_DEPTH: Final = 200
_VERSION: Final = re.compile(r"3\.(0|1|2)(\.[0-9A-Za-z.-]+)?\Z")

Tree = dict[str, Any]


class DocumentUnusable(Exception):
    """The document cannot be used; the argument is one of our own phrases that completes "its OpenAPI document …"."""


class _Loader(yaml.CSafeLoader):
    """YAML by the JSON schema ruleset that OpenAPI asks for: `no` and `2020-01-01` are strings, `010` is no octal."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form


for _tag, _pattern, _first in (
    ("null", r"(?:null|~|)\Z", ["n", "~", ""]),
    ("bool", r"(?:true|false)\Z", ["t", "f"]),
    ("int", r"-?(?:0|[1-9][0-9]{0,999})\Z", list("-0123456789")),
    ("float", r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,99})?(?:[eE][+-]?[0-9]{1,3})?\Z", list("-0123456789")),
    ("merge", r"<<\Z", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def parse_document(body: bytes) -> Tree:
    """The document as a tree of plain JSON values, whose version is one that can be read.

    Raises:
        DocumentUnusable: It is neither JSON nor YAML, nests too deeply, or is of another version.
    """
    if len(body) > MAX_DOCUMENT:
        raise DocumentUnusable(f"is over {MAX_DOCUMENT // (1024 * 1024)} MiB")
    tree = _load(body.removeprefix(b"\xef\xbb\xbf"))
    if not isinstance(tree, dict):
        raise DocumentUnusable("is not an OpenAPI document")
    _check_version(tree)
    return tree


def _load(body: bytes) -> Any:
    if body.lstrip()[:1] in (b"{", b"["):
        try:
            return msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass  # YAML flow style begins in the same way
        except RecursionError:
            raise DocumentUnusable("nests too deeply") from None
    try:
        return _Plain().of(yaml.load(body, Loader=_Loader), 0)  # noqa: S506 - a subclass of the safe loader
    except RecursionError:
        raise DocumentUnusable("nests too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError):
        raise DocumentUnusable("is neither JSON nor YAML") from None


class _Plain:
    """Makes plain JSON values of what YAML gave: keys as strings (`200:` is a number there).

    An alias stands for the same object each time and is converted once, so that aliases of aliases do not multiply.
    """

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}

    def of(self, value: Any, depth: int) -> Any:
        """The plain value."""
        if depth > MAX_DEPTH:
            raise DocumentUnusable("nests too deeply")
        if isinstance(value, dict | list):
            if id(value) not in self._known:
                self._known[id(value)] = self._container(value, depth + 1)
            return self._known[id(value)]
        if isinstance(value, str | int | float | bool) or value is None:
            return value
        raise DocumentUnusable("holds values that are not JSON")

    def _container(self, value: dict[Any, Any] | list[Any], depth: int) -> Any:
        if isinstance(value, dict):
            return {_key(key): self.of(entry, depth) for key, entry in value.items()}
        return [self.of(entry, depth) for entry in value]


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    if isinstance(key, int | float):
        return str(key)
    raise DocumentUnusable("holds keys that are not strings")


def _check_version(tree: Tree) -> None:
    if "swagger" in tree and "openapi" not in tree:
        raise DocumentUnusable("is Swagger 2.0; OpenAPI 3.0 or 3.1 is needed")
    if "openapi" not in tree:
        raise DocumentUnusable("is not an OpenAPI document")
    if not _VERSION.match(str(tree["openapi"])):
        raise DocumentUnusable("is of another OpenAPI version than 3.0 or 3.1")
    if not isinstance(tree.get("paths"), dict | None):
        raise DocumentUnusable("has paths that are not an object")
