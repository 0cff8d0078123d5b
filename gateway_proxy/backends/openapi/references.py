"""`$ref` within one document, by the `referencing` library. Nothing is ever fetched for one."""

from typing import Any, Final

from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from gateway_proxy.backends.openapi.parsing import Tree

MAX_CHAIN: Final = 50


class ReferenceUnusable(Exception):
    """A `$ref` leads out of the document, nowhere, or in a circle; the argument is one of our own phrases."""


class References:
    """Looks up local references of one document."""

    def __init__(self, tree: Tree) -> None:
        registry: Registry[Any] = Registry().with_resource("", DRAFT202012.create_resource(tree))
        self._resolver = registry.resolver("")
        self._found: dict[str, Any] = {}

    def find(self, reference: Any) -> Any:
        """What a `$ref` points to.

        Raises:
            ReferenceUnusable: It is not a reference into this document.
        """
        if not isinstance(reference, str):
            raise ReferenceUnusable("a $ref that is not a string")
        if not reference.startswith("#"):
            raise ReferenceUnusable("a $ref to another document, which is not fetched")
        if reference not in self._found:
            try:
                self._found[reference] = self._resolver.lookup(reference).contents
            except (Unresolvable, ValueError, TypeError, KeyError, IndexError):
                raise ReferenceUnusable("a $ref that points to nothing") from None
        return self._found[reference]

    def follow(self, value: Any) -> Any:
        """The object itself where a Reference Object may stand (parameters, bodies, responses, path items).

        Raises:
            ReferenceUnusable: As `find`, or references that only point to each other.
        """
        for _ in range(MAX_CHAIN):
            if not isinstance(value, dict) or "$ref" not in value:
                return value
            value = self.find(value["$ref"])
        raise ReferenceUnusable("references that point to each other")
