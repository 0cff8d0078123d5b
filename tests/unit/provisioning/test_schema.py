"""The JSON Schema that ships with the package."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from gateway_proxy.provisioning.config_file import read_document
from gateway_proxy.provisioning.document import parse_yaml
from gateway_proxy.provisioning.schema import SCHEMA_PATH, configuration_schema, schema_text
from gateway_proxy.provisioning.shapes import AssistantShape, ProviderShape, ServerShape, TenantShape, UserShape
from tests.unit.provisioning.test_config_file import CONTRACT_EXAMPLE

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "configuration-file.md"


def is_valid(document: Any) -> bool:
    schema = configuration_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return bool(jsonschema.Draft202012Validator(schema).is_valid(document))


def test_the_shipped_schema_is_what_the_shapes_say() -> None:
    """Run `python -m gateway_proxy.provisioning.schema` when this fails."""
    assert SCHEMA_PATH.read_text("utf-8") == schema_text()


def test_the_example_of_the_contract_fits() -> None:
    """Contract, configuration file."""
    assert is_valid(parse_yaml(CONTRACT_EXAMPLE))
    assert is_valid({"mcpServers": {"a": {"url": "https://x/mcp"}}})


@pytest.mark.parametrize(
    "document",
    [
        {"tenants": {"acme": {"nam": "x"}}},
        {"tenants": {"Acme": {}}},
        {"tenants": {"acme": {"mcpServers": {"under_score": {"command": "x"}}}}},
        {"users": [{"email": "ann@x.example", "tenants": {"acme": "boss"}}]},
    ],
)
def test_what_the_reader_refuses_does_not_fit(document: Any) -> None:
    """An editor shows the mistake before a start does."""
    assert not is_valid(document)


def test_a_variable_fits_where_a_number_is_expected() -> None:
    """Contract: variables expand everywhere."""
    assert is_valid({"tenants": {"acme": {"mcpServers": {"a": {"url": "https://x/", "timeout": "${T}"}}}}})
    assert is_valid({"users": [{"email": "${WHO}", "tenants": {"acme": "${ROLE:-member}"}}]})


def test_the_example_of_the_reference_page_is_read_and_fits() -> None:
    """House rule: docs that tests keep true."""
    example = parse_yaml(re.findall(r"```yaml\n(.*?)```", REFERENCE.read_text("utf-8"), re.DOTALL)[0])
    environ = {"TOKEN": "t", "ANTHROPIC_API_KEY": "k", "ANN_PASSWORD": "a long password"}

    assert is_valid(example)
    assert [tenant.slug for tenant in read_document(example, environ, folder=Path("/")).tenants] == ["acme"]


@pytest.mark.parametrize("shape", [TenantShape, ServerShape, ProviderShape, AssistantShape, UserShape])
def test_every_key_stands_in_the_reference_page(shape: type[msgspec.Struct]) -> None:
    """House rule: docs that tests keep true."""
    words = set(re.findall(r"`([A-Za-z_.]+)`", REFERENCE.read_text("utf-8")))
    keys = {field.encode_name for field in msgspec.structs.fields(shape)}

    assert keys - words - {"naming"} == set()
