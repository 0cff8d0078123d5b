"""What is known of an OpenAPI service after its document was read: data that passes from the reader to the worker.

Nothing here decides or touches the network; a plan holds no credential.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Raw

Place = Literal["path", "query", "header", "cookie"]
Method = Literal["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"]
Output = Literal["any", "object", "wrapped"]
BodyKind = Literal["json", "form", "text"]

MAX_DOCUMENT = 5 * 1024 * 1024
MAX_OPERATIONS = 500
MAX_DEFINITION = 48 * 1024
MAX_LIST = 3 * 1024 * 1024


class Style(msgspec.Struct, frozen=True):
    """How a value that is not a single string is written (OpenAPI 3.1, Style Values)."""

    name: str
    explode: bool


class Parameter(msgspec.Struct, frozen=True):
    """One parameter: `argument` is its name in the tool's arguments, `name` the one on the wire."""

    argument: str
    name: str
    place: Place
    style: Style
    required: bool = False
    is_json: bool = False


class Body(msgspec.Struct, frozen=True):
    """The request body. With `argument` None its members are arguments of their own.

    `members` are those that the document names; with `is_open` any other argument goes into the body as well.
    """

    media_type: str
    kind: BodyKind
    argument: str | None = None
    members: tuple[str, ...] = ()
    is_open: bool = False
    required: bool = False
    styles: Mapping[str, Style] = {}


class Operation(msgspec.Struct, frozen=True):
    """One tool. `required` are argument names; `path` is the template; `definition` the MCP tool as a JSON object.

    `server` is the operation's own server URL where the document gives it one. `output` says what the tool's
    outputSchema promises: nothing, the JSON object that comes back, or `{"result": …}` around what comes back.
    """

    name: str
    method: Method
    path: str
    definition: Raw
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    required: tuple[str, ...] = ()
    output: Output = "any"
    server: str | None = None


class Plan(msgspec.Struct, frozen=True):
    """A whole document: `server` is its first server URL as written, `notes` say in our words what was left out."""

    operations: tuple[Operation, ...] = ()
    server: str | None = None
    notes: tuple[str, ...] = ()


class Hints(msgspec.Struct, frozen=True):
    """What the reader has to know of the definition: names (never values) that the definition fixes itself."""

    headers: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()


class Reading(msgspec.Struct, frozen=True):
    """The outcome of reading: a plan, or why there is none (one of our own phrases)."""

    plan: Plan | None = None
    fault: str | None = None
