"""A document → the tools that it becomes, and the notes on what it does not."""

import json
from typing import Any

import jsonschema
import pytest

from gateway_proxy.backends.openapi.operations import read_plan
from gateway_proxy.backends.openapi.plan import MAX_DEFINITION, MAX_OPERATIONS, Hints, Operation, Plan
from tests.support.openapi_service import Tree, answers, document, json_body, operation, parameter

NOTHING = Hints()


def plan_of(paths: Tree, *, hints: Hints = NOTHING, **more: Any) -> Plan:
    """The plan; every schema in it is proven to be one."""
    plan = read_plan(document(paths, **more), hints)
    for each in plan.operations:
        tool = tool_of(each)
        assert tool["inputSchema"]["type"] == "object"
        jsonschema.Draft202012Validator.check_schema(tool["inputSchema"])
        if "outputSchema" in tool:
            assert tool["outputSchema"]["type"] == "object"
            jsonschema.Draft202012Validator.check_schema(tool["outputSchema"])
    return plan


def one(source: Tree, path: str = "/a", method: str = "post", **more: Any) -> Operation:
    """The one operation of a document."""
    (found,) = plan_of({path: {method: source}}, **more).operations
    return found


def tool_of(found: Operation) -> Tree:
    """Its MCP tool."""
    tool: Tree = json.loads(bytes(found.definition))
    return tool


def properties(found: Operation) -> Tree:
    """The properties of its arguments."""
    named: Tree = tool_of(found)["inputSchema"]["properties"]
    return named


def test_an_operation_becomes_a_tool() -> None:
    """Compatibility A5: name = operationId, description = summary, parameters from the body schema, required kept."""
    body = {"type": "object", "required": ["a"], "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}
    source = operation("add", summary="Add", description="Adds two numbers.", requestBody=json_body(body))
    tool = tool_of(one(source))
    assert tool == {
        "name": "add",
        "title": "Add",
        "description": "Add\n\nAdds two numbers.",
        "inputSchema": {"type": "object", "properties": body["properties"], "required": ["a"]},
        "annotations": {"readOnlyHint": False, "openWorldHint": True},
    }


@pytest.mark.parametrize(
    ("method", "hints"),
    [
        ("get", {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}),
        ("head", {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}),
        ("options", {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}),
        ("trace", {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}),
        ("put", {"readOnlyHint": False, "idempotentHint": True}),
        ("delete", {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True}),
        ("post", {"readOnlyHint": False}),
        ("patch", {"readOnlyHint": False}),
    ],
)
def test_every_method_is_a_tool_that_says_what_http_says_of_it(method: str, hints: Tree) -> None:
    """Compatibility A4: all methods; RFC 9110 §9.2 as MCP's annotations. Without an operationId: method and path."""
    found = one({"responses": {}}, "/a/{b-c}/d", method)
    assert (found.method, found.name) == (method.upper(), f"{method}_a_b-c_d")
    assert tool_of(found)["annotations"] == {**hints, "openWorldHint": True}
    assert tool_of(found)["description"] == f"{method.upper()} /a/{{b-c}}/d"


def test_names_are_usable_and_never_twice() -> None:
    """OpenAPI wants operationIds to be unique; documents forget."""
    paths = {
        "/a": {"get": operation("list all!"), "post": operation("list all!")},
        "/a.b": {"get": {"operationId": 7, "responses": {}}},
        "/A_b": {"get": operation("x" * 300)},
        "/{a}/b": {"get": operation("get_a_b")},
    }
    names = [each.name for each in plan_of(paths).operations]
    assert names == ["list_all", "post_a", "x" * 128, "get_a_b"]


def test_parameters_of_every_place_become_arguments() -> None:
    """Compatibility A4: path, query, header, cookie; the operation's own wins over its path's."""
    path_item = {
        "parameters": [parameter("id", "path", {"type": "integer"}), parameter("q", "query", description="theirs")],
        "get": operation(
            "get",
            parameter("q", "query", {"type": "array", "items": {"type": "string"}}, description="ours", explode=False),
            parameter("X-Trace", "header", {"type": "boolean"}, required=True),
            parameter("theme", "cookie", example="dark"),
            {"name": "filter", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}},
        ),
    }
    (found,) = plan_of({"/a/{id}": path_item}).operations
    assert tool_of(found)["inputSchema"] == {
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "q": {"type": "array", "items": {"type": "string"}, "description": "ours"},
            "X-Trace": {"type": "boolean"},
            "theme": {"type": "string", "examples": ["dark"]},
            "filter": {"type": "object"},
        },
        "required": ["id", "X-Trace"],
        "additionalProperties": False,
    }
    told = [(p.place, p.style.name, p.style.explode, p.required, p.is_json) for p in found.parameters]
    assert told == [
        ("path", "simple", False, True, False),
        ("query", "form", False, False, False),
        ("header", "simple", False, True, False),
        ("cookie", "form", True, False, False),
        ("query", "form", True, False, True),
    ]


def test_argument_names_are_such_that_every_client_takes_them() -> None:
    """Claude refuses a whole list for one property name outside [a-zA-Z0-9_.-]{1,64}; on the wire it stays itself."""
    names = ["filter[a]", "filter a", "$top", "[]", "é" * 9, "x" * 70]
    found = one(operation("get", *[parameter(name, "query") for name in names]), method="get")
    told = [(p.argument, p.name) for p in found.parameters]
    assert told == list(
        zip(["filter_a", "filter_a__query", "top", "value", "value__query", "x" * 60], names, strict=True)
    )


def test_parameters_that_openapi_ignores_or_the_definition_fixes_are_not_asked_for() -> None:
    """OpenAPI 3.1, Parameter Object: Accept, Content-Type, Authorization. And nobody overrides the credentials."""
    names = ["Accept", "content-type", "Authorization", "X-Api-Key", "X-Forwarded-For", "Cookie", "bad name", "X-Ok"]
    source = operation("get", *[parameter(name, "header") for name in names], parameter("sid", "cookie"))
    found = one(source, method="get", hints=Hints(("x-api-KEY",), ("sid",)))
    assert list(properties(found)) == ["X-Ok"]


def test_a_variable_that_nobody_declared_is_a_required_string() -> None:
    """Common in documents written by hand; the path cannot be made without it. One of no variable is dropped."""
    found = one(operation("get", parameter("other", "path")), "/a/{b}", "get")
    assert (properties(found), found.required) == ({"b": {"type": "string"}}, ("b",))


def test_a_parameter_gives_way_to_a_member_of_the_body() -> None:
    """PUT /users/{id} with an id in the body as well: both can be said."""
    body = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
    found = one(operation("put", parameter("id", "path"), requestBody=json_body(body)), "/users/{id}", "put")
    assert properties(found) == {"id__path": {"type": "string"}, "id": {"type": "integer"}}
    assert found.required == ("id__path", "id")
    assert (found.parameters[0].argument, found.parameters[0].name) == ("id__path", "id")


def test_members_of_all_of_are_arguments_too() -> None:
    """The usual way to inherit."""
    base = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
    body = {"allOf": [{"$ref": "#/components/schemas/Base"}, {"properties": {"b": {}}, "additionalProperties": False}]}
    found = one(operation("x", requestBody=json_body(body)), components={"schemas": {"Base": base}})
    assert tool_of(found)["inputSchema"] == {
        "type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"],
        "additionalProperties": False,
    }  # fmt: skip
    assert found.body is not None
    assert (found.body.members, found.body.is_open) == (("a", "b"), False)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object"},
        {"oneOf": [{"type": "object", "properties": {"a": {}}}, {"type": "object", "properties": {"b": {}}}]},
        {"type": "object", "properties": {"odd name": {}}},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {},
    ],
)
def test_any_other_body_is_one_argument(schema: Tree) -> None:
    """A body that has no fixed members is passed as it is; its description is the argument's."""
    found = one(operation("x", parameter("body", "query"), requestBody=json_body(schema, description="All of it")))
    assert properties(found) == {"body": {"type": "string"}, "body__body": {**schema, "description": "All of it"}}
    assert found.required == ("body__body",)
    assert found.body is not None
    assert found.body.argument == "body__body"


@pytest.mark.parametrize(
    ("content", "kind", "sent_as"),
    [
        ({"text/plain": {}, "application/json": {}}, "json", "application/json"),
        ({"application/merge-patch+json": {}, "text/plain": {}}, "json", "application/merge-patch+json"),
        ({"application/json; charset=utf-8": {}}, "json", "application/json; charset=utf-8"),
        ({"*/*": {}}, "json", "application/json"),
        ({"text/plain": {}, "application/x-www-form-urlencoded": {}}, "form", "application/x-www-form-urlencoded"),
        ({"multipart/form-data": {}, "text/csv": {}}, "text", "text/csv"),
        ({"application/xml": {}}, "text", "application/xml"),
    ],
)
def test_the_media_type_that_can_be_sent_is_chosen(content: Tree, kind: str, sent_as: str) -> None:
    """JSON before a form before text."""
    found = one(operation("x", requestBody={"content": content}))
    assert found.body is not None
    assert (found.body.kind, found.body.media_type, found.body.required) == (kind, sent_as, False)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            operation("x", requestBody={"content": {"multipart/form-data": {}}}),
            "a multipart body, which is not supported",
        ),
        (operation("x", requestBody={"content": {"image/png": {}}}), "a body of 'image/png', which is not supported"),
        (operation("x", requestBody={"content": {"a/b\r\nX: y": {}}}), "which is not supported"),
        (operation("x", requestBody={}), "a body without content"),
        (operation("x", requestBody={"$ref": "https://evil.example/x"}), "a $ref to another document"),
        (operation("x", {"$ref": "#/nope"}), "a $ref that points to nothing"),
        (operation("x", {"in": "query"}), "its parameter 'None' is not valid OpenAPI at 'name'"),
        (operation("x", {"name": "a", "in": "body"}), "its parameter 'a' is not valid OpenAPI at 'in'"),
        (operation("x", "nonsense"), "a parameter that is not an object"),  # type: ignore[arg-type]
        ({"parameters": {}, "responses": {}}, "parameters that are not a list"),
        (operation("x", parameter("a", "query", style="bogus")), "the style 'bogus' for a query parameter"),
        (operation("x", parameter("a", "query", {"type": "file"})), "a schema that is not valid at 'properties.a"),
        (operation("x", parameter("a", "query", {"type": "string", "required": True})), "a schema that is not valid"),
        (operation("x", parameter("a", "query", {"minimum": "5"})), "a schema that is not valid"),
        (operation("x", parameter("Host", "header", required=True)), "the header parameter 'Host'"),
        ({"summary": [], "responses": {}}, "the operation is not valid OpenAPI at 'summary'"),
    ],
)
def test_an_operation_that_cannot_be_offered_costs_only_itself(source: Tree, reason: str) -> None:
    """F7: the others stay, and a note says what is missing and why."""
    plan = plan_of({"/bad": {"post": source}, "/good": {"get": operation("good")}})
    assert [each.name for each in plan.operations] == ["good"]
    assert len(plan.notes) == 1
    assert plan.notes[0].startswith("POST /bad left out: ")
    assert reason in plan.notes[0]


def test_paths_that_cannot_be_read_cost_only_themselves() -> None:
    """Path items with references, templates that lead elsewhere, extensions."""
    item = {"get": operation("shared")}
    paths = {
        "x-internal": 7,
        "/ref": {"$ref": "#/components/pathItems/Shared"},
        "/remote": {"$ref": "https://evil.example/x"},
        "/list": [],
        "/../up": {"get": operation("up")},
    }
    plan = plan_of(paths, components={"pathItems": {"Shared": item}})
    assert [(each.name, each.path) for each in plan.operations] == [("shared", "/ref")]
    assert plan.notes == (
        "/remote left out: a $ref to another document, which is not fetched",
        "/list left out: a path item that is not an object",
        "GET /../up left out: a path with dot segments",
    )


@pytest.mark.parametrize(
    ("responses", "output", "schema"),
    [
        (answers({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}), "object",
         {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
        (answers({"properties": {"a": {}}}), "object", {"type": "object", "properties": {"a": {}}}),
        (answers({"type": "array"}), "wrapped",
         {"type": "object", "properties": {"result": {"type": "array"}}, "required": ["result"]}),
        (answers({"oneOf": [{"type": "object"}, {"type": "string"}]}), "wrapped",
         {"type": "object", "required": ["result"],
          "properties": {"result": {"oneOf": [{"type": "object"}, {"type": "string"}]}}}),
        (answers({}), "any", None),
        (answers({"title": "Response"}), "any", None),
        (answers({"type": "string"}, "text/plain"), "any", None),
        (answers({"type": "object"}) | {"204": {"description": "none"}}, "any", None),
        (answers({"type": "object"}) | {"404": {"description": "none"}, "default": {}}, "object", {"type": "object"}),
        (answers({"$ref": "#/nope"}), "any", None),
        (answers({"type": "nonsense"}), "any", None),
        ({"200": {"$ref": "https://evil.example"}}, "any", None),
        ({"200": 7}, "any", None),
        ([], "any", None),
    ],
)  # fmt: skip
def test_a_promise_is_made_only_where_it_can_be_kept(responses: Any, output: str, schema: Tree | None) -> None:
    """2025-11-25, Output Schema: a result must then fit; so only where every success is JSON of one shape."""
    found = one({"operationId": "x", "responses": responses}, method="get")
    assert (found.output, tool_of(found).get("outputSchema")) == (output, schema)


def test_at_most_500_operations_are_offered() -> None:
    """E3: ≤ 500 operations; the first ones, and a note."""
    plan = plan_of({f"/p{n}": {"get": operation(f"op{n}")} for n in range(10_000)})
    assert len(plan.operations) == MAX_OPERATIONS
    assert plan.operations[-1].name == "op499"
    assert plan.notes == ("only the first 500 of its 10000 operations are offered",)


def test_a_definition_is_shortened_until_it_fits_its_share() -> None:
    """D2: a definition ≤ 64 KiB, a list ≤ 4 MiB: examples go first, then depth, then the promise."""
    deep: Tree = {f"L{n}": {"properties": {f"p{i}": {"$ref": f"#/components/schemas/L{n + 1}"} for i in range(8)}}
                  for n in range(8)}  # fmt: skip
    deep["L8"] = {"type": "string"}
    top = {"$ref": "#/components/schemas/L0"}
    source = operation("x", requestBody=json_body(top)) | {"responses": answers(top)}
    plan = plan_of({f"/p{n}": {"post": {**source, "operationId": f"op{n}"}} for n in range(3)},
                   components={"schemas": deep})  # fmt: skip
    assert [len(bytes(each.definition)) < MAX_DEFINITION for each in plan.operations] == [True] * 3
    assert plan.notes == ("the schemas of POST /p0, POST /p1, POST /p2 are shortened",)
    assert properties(plan.operations[0])["p0"]["properties"]["p0"]["properties"]["p0"] == {}


def test_a_definition_that_cannot_be_made_to_fit_is_left_out() -> None:
    """D2: a definition ≤ 64 KiB."""
    wide = {"type": "object", "properties": {f"p{n}": {"type": "string", "description": "x" * 40} for n in range(2000)}}
    plan = plan_of({"/a": {"post": operation("x", requestBody=json_body(wide))}, "/b": {"get": operation("y")}})
    assert [each.name for each in plan.operations] == ["y"]
    assert plan.notes == ("POST /a left out: a definition over 48 KiB",)


def test_many_of_one_kind_are_one_note() -> None:
    """Notes are for people."""
    source: Tree = {"requestBody": {"content": {"multipart/form-data": {}}}, "responses": {}}
    plan = plan_of({f"/p{n}": {"post": source} for n in range(9)})
    assert plan.notes == ("POST /p0, POST /p1, POST /p2 and 6 more left out: a multipart body, which is not supported",)


def test_servers_are_told_with_their_variables_at_their_defaults() -> None:
    """OpenAPI 3.1, Server Object; an operation's own, else its path's, else the document's."""
    servers = [{"url": "https://{r}.x/{v}", "variables": {"r": {"default": "eu"}, "v": {"default": "v1"}}}]
    paths = {
        "/a": {"servers": [{"url": "/path"}], "get": operation("a"), "post": operation("b", servers=[{"url": "/own"}])},
        "/c": {"get": operation("c", servers=[])},
    }
    plan = plan_of(paths, servers=servers)
    assert plan.server == "https://eu.x/v1"
    assert [each.server for each in plan.operations] == ["/path", "/own", None]


def test_a_form_says_how_its_members_are_written() -> None:
    """OpenAPI 3.1, Encoding Object."""
    schema = {"type": "object", "properties": {"a": {}, "b": {}, "c": {}, "d": {}}}
    encoding = {
        "a": {"style": "deepObject", "explode": True},
        "b": {"explode": False},
        "c": {"contentType": "application/json"},
        "nobody": {"style": "form"},
    }
    media = {"application/x-www-form-urlencoded": {"schema": schema, "encoding": encoding}}
    found = one(operation("x", requestBody={"content": media}))
    assert found.body is not None
    told = {name: (style.name, style.explode) for name, style in found.body.styles.items()}
    assert told == {"a": ("deepObject", True), "b": ("form", False), "c": ("json", False)}
