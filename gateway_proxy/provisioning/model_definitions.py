"""Definitions of providers and assistants that come over HTTP, read and held against who sends them.

As in `definitions`, `${VAR}` stands for itself. What needs the network or the database to be judged is judged by the
edits.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.backend import Origin
from gateway_proxy.domain.provider import Provider
from gateway_proxy.egress.exchange import RequestHeaders
from gateway_proxy.provisioning.conversion import convert_struct
from gateway_proxy.provisioning.definitions import refuse_redacted
from gateway_proxy.provisioning.problems import KeyPath, Problems
from gateway_proxy.provisioning.rules import Rules
from gateway_proxy.provisioning.shapes import PROVIDER_NAME, AssistantShape, ProviderShape
from gateway_proxy.provisioning.value_faults import assistant_name_fault

MOST_HEADERS: Final = 50
LONGEST_URL: Final = 2048
LONGEST_CREDENTIAL: Final = 8192
MOST_IN_HEADERS: Final = 16 * 1024
MOST_REFERENCES: Final = 200
_PROVIDER_NAME: Final = re.compile(PROVIDER_NAME)


def is_provider_name(name: str) -> bool:
    """Whether a provider may have that name; what may not stands in no database and needs no look."""
    return _PROVIDER_NAME.fullmatch(name) is not None


def read_provider(name: str, document: Any, *, origin: Origin) -> Provider:
    """The definition of one LLM API, without a place yet. Its name is known already; the document may repeat it.

    Raises:
        ConfigFileInvalid: Naming everything that does not fit.
    """
    problems = Problems()
    if not is_provider_name(name):
        problems.add(
            ("name",),
            "expected 1 to 64 letters, digits, dots, underscores and hyphens, beginning with one of the former",
        )
    shape = convert_struct(_without_name(name, document, problems), ProviderShape, (), problems)
    if shape is not None:
        _check_provider(shape, problems)
    provider = None if shape is None else Rules(problems, Path("/")).provider(name, shape, ())
    problems.raise_if_any()
    assert provider is not None  # else there was a problem
    return replace(provider, origin=origin)


def read_assistant(name: str, document: Any, *, origin: Origin) -> Assistant:
    """The definition of one virtual model, without a place yet. `backend` is what older clients call its provider.

    Raises:
        ConfigFileInvalid: As for `read_provider`.
    """
    problems = Problems()
    fault = assistant_name_fault(name)
    if fault is not None:
        problems.add(("name",), fault)
    problems.raise_if_any()
    document = _without_name(name, document, problems)
    if isinstance(document, dict):
        document = {**_with_provider(document, problems), "name": name}
    shape = convert_struct(document, AssistantShape, (), problems)
    if shape is not None:
        if len(shape.mcp_servers) > MOST_REFERENCES:
            problems.add(("mcp_servers",), f"expected at most {MOST_REFERENCES} servers")
        refuse_redacted(_texts(shape.extra_body, ("extra_body",)), problems)
    assistant = None if shape is None else Rules(problems, Path("/")).assistant(shape, ())
    problems.raise_if_any()
    assert assistant is not None  # else there was a problem
    return replace(assistant, origin=origin)


def _with_provider(document: dict[str, Any], problems: Problems) -> dict[str, Any]:
    if "backend" not in document:
        return document
    if document.get("provider", document["backend"]) != document["backend"]:
        problems.add(("backend",), "says something else than provider; one of them is enough")
    return {"provider": document["backend"]} | {key: value for key, value in document.items() if key != "backend"}


def _check_provider(shape: ProviderShape, problems: Problems) -> None:
    """What a file's author finds out from the first chat: whoever sends a request is told at once."""
    if shape.base_url is not None and "?" in shape.base_url:
        problems.add(("base_url",), "expected no query, it would not be sent; put credentials in default_headers")
    if len(shape.base_url or "") > LONGEST_URL:
        problems.add(("base_url",), f"expected at most {LONGEST_URL} characters")
    if len(shape.default_headers) > MOST_HEADERS:
        problems.add(("default_headers",), f"expected at most {MOST_HEADERS} headers")
    if sum(len(name) + len(value) for name, value in shape.default_headers.items()) > MOST_IN_HEADERS:
        problems.add(("default_headers",), f"expected at most {MOST_IN_HEADERS} characters in all")
    for path, value in _credentials(shape):
        if len(value) > LONGEST_CREDENTIAL:
            problems.add(path, f"expected at most {LONGEST_CREDENTIAL} characters")
    for name, value in shape.default_headers.items():
        if not _may_be_sent(name, value):
            problems.add(
                ("default_headers", name),
                "expected a header that HTTP itself does not set, with no blanks around its value",
            )
    refuse_redacted([(("base_url",), shape.base_url or ""), *_credentials(shape)], problems)


def _credentials(shape: ProviderShape) -> Iterator[tuple[KeyPath, str]]:
    yield ("api_key",), shape.api_key
    for name, value in shape.default_headers.items():
        yield ("default_headers", name), value


def _may_be_sent(name: str, value: str) -> bool:
    try:
        RequestHeaders([(name, value)])
    except ValueError:
        return False
    return True


def _without_name(name: str, document: Any, problems: Problems) -> Any:
    """The document without the name that it may repeat."""
    if not isinstance(document, dict) or "name" not in document:
        return document
    if document["name"] != name:
        problems.add(("name",), "expected the name that stands in the path, or none")
    return {key: value for key, value in document.items() if key != "name"}


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    left: list[tuple[KeyPath, Any]] = [(path, value)]
    while left:
        here, each = left.pop()
        if isinstance(each, str):
            yield here, each
        elif isinstance(each, dict):
            left += [((*here, key), entry) for key, entry in each.items()]
        elif isinstance(each, list):
            left += [((*here, number), entry) for number, entry in enumerate(each)]
