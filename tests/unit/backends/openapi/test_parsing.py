"""Bytes → tree: JSON and YAML, and what is refused before anything is made of it."""

import json

import pytest

from gateway_proxy.backends.openapi.parsing import DocumentUnusable, parse_document
from gateway_proxy.backends.openapi.plan import MAX_DOCUMENT

YAML = b"""
openapi: 3.0.3
info: {title: Shop, version: 1.10}
paths:
  /a:
    get:
      responses:
        200: {description: fine}
      parameters:
        - {name: on, in: query, schema: {type: string, enum: [no, yes, 2020-01-01, 010, 1e3, 7, 1.5, true, null, ~]}}
"""


def test_yaml_means_what_openapi_says_it_means() -> None:
    """OpenAPI 3.1, Format: the JSON schema ruleset of YAML 1.2; `no` is Norway and 200 a key like any other."""
    tree = parse_document(YAML)
    get = tree["paths"]["/a"]["get"]
    assert get["responses"] == {"200": {"description": "fine"}}
    values = ["no", "yes", "2020-01-01", "010", 1000.0, 7, 1.5, True, None, None]
    assert get["parameters"][0]["schema"]["enum"] == values
    assert get["parameters"][0]["name"] == "on"


def test_json_with_a_byte_order_mark_is_json() -> None:
    """Some servers write one, although RFC 8259 says not to."""
    assert parse_document(b"\xef\xbb\xbf" + json.dumps({"openapi": "3.1.0"}).encode()) == {"openapi": "3.1.0"}


def test_aliases_of_aliases_do_not_multiply() -> None:
    """E2: a document of a few hundred bytes that would be 10^9 values if each alias were a copy."""
    rows = ["openapi: 3.1.0", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    tree = parse_document("\n".join(rows).encode())
    assert tree["a9"][0] is tree["a9"][1]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "is not an OpenAPI document"),
        (b"<html><body>404</body></html>", "is not an OpenAPI document"),
        (b"[1]", "is not an OpenAPI document"),
        (b"{}", "is not an OpenAPI document"),
        (b"\xff\xfe\x00\xd8", "is neither JSON nor YAML"),
        (b"a: [1", "is neither JSON nor YAML"),
        (b"a: !!python/object/apply:os.system [ls]", "is neither JSON nor YAML"),
        (b'{"swagger":"2.0"}', "is Swagger 2.0; OpenAPI 3.0 or 3.1 is needed"),
        (b'{"openapi":"4.0.0"}', "is of another OpenAPI version than 3.0 or 3.1"),
        (b"openapi: 3", "is of another OpenAPI version than 3.0 or 3.1"),
        (b'{"openapi":"3.0.1","paths":[]}', "has paths that are not an object"),
        (b'{"openapi":' + b"[" * 100_000, "nests too deeply"),
        (b"openapi: 3.1.0\na: " + b"[" * 500 + b"]" * 500, "nests too deeply"),
        (b"openapi: 3.1.0\na: &a [*a]", "nests too deeply"),
        (b"openapi: 3.1.0\n? !!binary aGk=\n: b", "holds keys that are not strings"),
        (b"openapi: 3.1.0\na: !!binary aGk=", "holds values that are not JSON"),
        (b" " * (MAX_DOCUMENT + 1), "is over 5 MiB"),
    ],
)
def test_what_is_no_document_is_refused_in_our_words(body: bytes, fault: str) -> None:
    """F7: a clear error, whatever comes."""
    with pytest.raises(DocumentUnusable) as caught:
        parse_document(body)
    assert str(caught.value) == fault


@pytest.mark.parametrize("version", ["3.0", "3.0.4", "3.1.1", "3.2.0"])
def test_versions_that_can_be_read(version: str) -> None:
    """OpenAPI 3.0 and 3.1; 3.2 is read as 3.1, which it extends."""
    assert parse_document(json.dumps({"openapi": version, "paths": None}).encode())["openapi"] == version
