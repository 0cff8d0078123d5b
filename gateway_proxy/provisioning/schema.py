"""The JSON Schema of configuration files, made from the shapes. `gateway.schema.json` beside this module is its output.

Run `python -m gateway_proxy.provisioning.schema` after a shape has changed; a test fails until that is done.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway_proxy.provisioning.shapes import DesktopShape, GatewayShape

SCHEMA_PATH: Final = Path(__file__).with_name("gateway.schema.json")
_VARIABLE: Final = {"type": "string", "pattern": r"\$\{"}


def configuration_schema() -> dict[str, Any]:
    """The schema (2020-12) for today's two shapes; the older one is read, but nobody should write it any more."""
    (gateway, desktop), definitions = msgspec.json.schema_components(
        [GatewayShape, DesktopShape], ref_template="#/$defs/{name}"
    )
    definitions["NamedKeyShape"] = {"anyOf": [definitions["NamedKeyShape"], {"type": "string", "minLength": 16}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of gateway-proxy",
        "description": "tenants and users; or the mcpServers of a desktop client, for the tenant default.",
        "anyOf": [gateway, desktop],
        "$defs": {name: _with_variables(definition) for name, definition in sorted(definitions.items())},
    }


def schema_text() -> str:
    """The schema as the text of the file that ships with the package."""
    return json.dumps(configuration_schema(), indent=2, ensure_ascii=False) + "\n"


def _with_variables(schema: Any) -> Any:
    """Every value can come from the environment, and then it stands in the file as text."""
    if isinstance(schema, list):
        return [_with_variables(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    # Defaults and choices are data, not schemas; keys are not expanded.
    walked = {
        key: value if key in ("default", "enum", "required", "propertyNames") else _with_variables(value)
        for key, value in schema.items()
    }
    if kind in ("integer", "number", "boolean") or "enum" in schema or "pattern" in schema:
        outer = {key: walked.pop(key) for key in ("title", "default", "description") if key in walked}
        return {"anyOf": [walked, dict(_VARIABLE)], **outer}
    return walked


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), "utf-8")
