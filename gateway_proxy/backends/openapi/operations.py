"""The tree of a document → a plan: every operation that can be offered as a tool, and notes on those that cannot."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw
from openapi_pydantic.v3 import v3_1
from pydantic import ValidationError

from gateway_proxy.backends.openapi.arguments import (
    ArgumentReader,
    Arguments,
    OperationUnusable,
    check,
    short,
    where_of,
)
from gateway_proxy.backends.openapi.outputs import read_output
from gateway_proxy.backends.openapi.parsing import Tree
from gateway_proxy.backends.openapi.paths import PathUnusable
from gateway_proxy.backends.openapi.plan import (
    MAX_DEFINITION,
    MAX_LIST,
    MAX_OPERATIONS,
    Hints,
    Method,
    Operation,
    Output,
    Plan,
)
from gateway_proxy.backends.openapi.references import References, ReferenceUnusable
from gateway_proxy.backends.openapi.schemas import Extent, Schema, SchemaTooLarge, SchemaUnusable
from gateway_proxy.backends.openapi.servers import server_of

_METHODS: Final[Mapping[str, Method]] = {
    "get": "GET", "put": "PUT", "post": "POST", "delete": "DELETE",
    "options": "OPTIONS", "head": "HEAD", "patch": "PATCH", "trace": "TRACE",
}  # fmt: skip
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_IDEMPOTENT: Final = frozenset({"PUT", "DELETE"})
_SMALL_NODE: Final = 12
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_.-]+")
MAX_NAME: Final = 128
MAX_NOTE_NAMES: Final = 3


class _Attempt(NamedTuple):
    """One try at a definition that fits: how deep references go, and what else is kept."""

    references: int
    examples: bool
    output: bool
    description: int


_LADDER: Final = (
    _Attempt(50, True, True, 8000),
    _Attempt(50, False, True, 8000),
    _Attempt(6, False, True, 4000),
    _Attempt(6, False, False, 4000),
    _Attempt(3, False, False, 2000),
    _Attempt(1, False, False, 500),
)


class _Found(NamedTuple):
    """An operation as it stands in the document. `shared` are the parameters of its path."""

    method: Method
    path: str
    shared: Any
    source: Mapping[str, Any]
    server: str | None

    @property
    def label(self) -> str:
        """How notes call it."""
        return f"{self.method} {short(self.path)[1:-1]}"


def read_plan(tree: Tree, hints: Hints) -> Plan:
    """The plan of a document, at most `MAX_OPERATIONS` operations in the document's order."""
    return _Planner(tree, hints).plan()


class _Planner:
    def __init__(self, tree: Tree, hints: Hints) -> None:
        self._tree = tree
        self._references = References(tree)
        self._arguments = ArgumentReader(self._references, hints)
        self._left_out: dict[str, list[str]] = {}
        self._shortened: list[str] = []
        self._names: set[str] = set()

    def plan(self) -> Plan:
        """Read everything."""
        paths = self._tree.get("paths") or {}
        found = list(self._find(paths))
        share = max(4096, min(MAX_DEFINITION, MAX_LIST // max(1, min(len(found), MAX_OPERATIONS))))
        operations: list[Operation] = []
        for entry in found:
            if len(operations) >= MAX_OPERATIONS:
                break
            operation = self._read(entry, share)
            if operation is not None:
                operations.append(operation)
        notes = [_note(reason, labels) for reason, labels in self._left_out.items()]
        if self._shortened:
            notes.append(f"the schemas of {_listed(self._shortened)} are shortened")
        if len(found) > len(operations) >= MAX_OPERATIONS:
            notes.insert(0, f"only the first {MAX_OPERATIONS} of its {len(found)} operations are offered")
        return Plan(tuple(operations), server_of(self._tree.get("servers")), tuple(notes))

    def _find(self, paths: Mapping[str, Any]) -> Iterator[_Found]:
        for path, entry in paths.items():
            if path.startswith("x-"):
                continue
            try:
                item = self._references.follow(entry)
            except ReferenceUnusable as error:
                self._leave_out(str(error), short(path)[1:-1])
                continue
            if not isinstance(item, Mapping):
                self._leave_out("a path item that is not an object", short(path)[1:-1])
                continue
            for key, method in _METHODS.items():
                source = item.get(key)
                if isinstance(source, Mapping):
                    server = server_of(source.get("servers")) or server_of(item.get("servers"))
                    yield _Found(method, path, item.get("parameters"), source, server)

    def _read(self, found: _Found, share: int) -> Operation | None:
        try:
            bare = {key: value for key, value in found.source.items() if key not in _DEEP}
            check(v3_1.Operation, bare, "the operation")
            _check_list(found.shared)
            _check_list(found.source.get("parameters"))
            return self._fit(found, share)
        except (OperationUnusable, ReferenceUnusable, SchemaUnusable, PathUnusable) as error:
            self._leave_out(str(error), found.label)
        except SchemaTooLarge:
            self._leave_out(f"a definition over {MAX_DEFINITION // 1024} KiB", found.label)
        return None

    def _fit(self, found: _Found, share: int) -> Operation:
        """The operation with as much of its schemas as fits its share of the list."""
        name = self._name(found)
        hopeless: int | None = None
        for number, attempt in enumerate(_LADDER):
            is_last = number == len(_LADDER) - 1
            limit = MAX_DEFINITION if is_last else share
            if attempt.references == hopeless and attempt.output:
                continue  # as many nodes as the one before, which were too many
            try:
                operation = self._build(found, name, attempt, limit // _SMALL_NODE)
            except SchemaTooLarge:
                if is_last:
                    raise
                hopeless = attempt.references
                continue
            if len(bytes(operation.definition)) <= limit:
                if number > 1:
                    self._shortened.append(found.label)
                self._names.add(name)
                return operation
        raise SchemaTooLarge

    def _build(self, found: _Found, name: str, attempt: _Attempt, nodes: int) -> Operation:
        extent = Extent(attempt.references, attempt.examples, nodes)
        arguments = self._arguments.read(found.path, found.shared, found.source, extent)
        output: Output = "any"
        promised: Schema | None = None
        if attempt.output and found.method != "HEAD":
            output, promised = read_output(self._references, found.source.get("responses"), extent)
            if promised is not None and _fault_of(promised) is not None:
                output, promised = "any", None
        fault = _fault_of(arguments.schema)
        if fault is not None:
            raise OperationUnusable(f"a schema that is not valid{fault}")
        definition = _definition(found, name, arguments, promised, attempt.description)
        return Operation(
            name=name,
            method=found.method,
            path=found.path,
            definition=Raw(msgspec.json.encode(definition)),
            parameters=arguments.parameters,
            body=arguments.body,
            required=tuple(arguments.schema.get("required", ())),
            output=output,
            server=found.server,
        )

    def _name(self, found: _Found) -> str:
        """The operationId; where there is none, or it stands twice, the method and path; always a usable name."""
        derived = _FOREIGN.sub("_", f"{found.method.lower()}{found.path}").replace(".", "_").strip("_")[:MAX_NAME]
        given = found.source.get("operationId")
        candidates = [_FOREIGN.sub("_", given).strip("_")[:MAX_NAME]] if isinstance(given, str) else []
        for candidate in (*candidates, derived):
            if candidate and candidate not in self._names:
                return candidate
        number = 2
        while f"{derived[:120]}_{number}" in self._names:
            number += 1
        return f"{derived[:120]}_{number}"

    def _leave_out(self, reason: str, label: str) -> None:
        self._left_out.setdefault(reason, []).append(label)


_DEEP: Final = frozenset({"parameters", "requestBody", "responses", "callbacks", "servers", "externalDocs", "security"})


def _definition(
    found: _Found, name: str, arguments: Arguments, promised: Schema | None, longest: int
) -> dict[str, object]:
    """The MCP tool."""
    source = found.source
    summary = (source.get("summary") or "").strip()
    about = (source.get("description") or "").strip()
    parts = [summary, about if about != summary else ""]
    if arguments.about_body:
        parts.append(f"Body: {arguments.about_body.strip()}")
    if source.get("deprecated") is True:
        parts.append("Deprecated.")
    text = "\n\n".join(part for part in parts if part) or f"{found.method} {found.path}"
    definition: dict[str, object] = {
        "name": name,
        "description": text if len(text) <= longest else text[: longest - 1] + "…",
        "inputSchema": arguments.schema,
    }
    if summary:
        definition["title"] = summary[:200]
    if promised is not None:
        definition["outputSchema"] = promised
    definition["annotations"] = _annotations(found.method)
    return definition


def _annotations(method: str) -> dict[str, bool]:
    """What HTTP says of the method (RFC 9110 §9.2); what it leaves open is left out, and then MCP's default holds."""
    if method in _SAFE:
        return {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": True}
    hints = {"readOnlyHint": False, "openWorldHint": True}
    if method == "DELETE":
        hints["destructiveHint"] = True
    if method in _IDEMPOTENT:
        hints["idempotentHint"] = True
    return hints


def _fault_of(schema: Schema) -> str | None:
    """Where a schema is not one, else None: one malformed tool makes some clients refuse the whole list."""
    try:
        v3_1.Schema.model_validate_json(msgspec.json.encode(schema), strict=True)
    except ValidationError as error:
        return where_of(error)
    except RecursionError:
        return ""
    return None


def _check_list(value: Any) -> None:
    if value is not None and not isinstance(value, list):
        raise OperationUnusable("parameters that are not a list")


def _note(reason: str, labels: list[str]) -> str:
    return f"{_listed(labels)} left out: {reason}"


def _listed(labels: list[str]) -> str:
    shown = ", ".join(labels[:MAX_NOTE_NAMES])
    more = len(labels) - MAX_NOTE_NAMES
    return f"{shown} and {more} more" if more > 0 else shown
