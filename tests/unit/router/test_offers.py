"""What the gateway declares for its backends (relay.md 7; MCP, Lifecycle, Capability Negotiation)."""

import json

from gateway_proxy.backends.introduction import Introduction, read_introduction
from gateway_proxy.router.offers import EVERYTHING, offer_of

TOOLS = read_introduction(b'{"capabilities":{"tools":{}},"instructions":"a"}')
PROMPTS = read_introduction(b'{"capabilities":{"prompts":{},"completions":{},"x":{"y":1.0}},"instructions":"b"}')


def test_the_union_of_what_backends_have_is_declared() -> None:
    """Only what the gateway relays for several backends; tools always, since more backends may come."""
    declared = json.loads(offer_of([TOOLS, PROMPTS], is_alone=False).capabilities)
    assert set(declared) == {"tools", "prompts", "completions"}
    assert declared["tools"] == {"listChanged": True}
    assert json.loads(offer_of([], is_alone=False).capabilities) == {"tools": {"listChanged": True}}
    resources = read_introduction(b'{"capabilities":{"resources":{}}}')
    assert json.loads(offer_of([resources], is_alone=False).capabilities)["resources"]["subscribe"] is True


def test_what_is_not_known_yet_may_be_there() -> None:
    """A client that is not told of prompts never asks for them, not even when their backend is back."""
    assert offer_of([TOOLS, None], is_alone=False) is EVERYTHING
    assert offer_of([None], is_alone=True) is EVERYTHING
    assert set(json.loads(EVERYTHING.capabilities)) == {"tools", "prompts", "resources", "completions", "logging"}


def test_a_single_backend_without_prefix_is_shown_as_it_is() -> None:
    """contract.md, naming.prefix none: capabilities byte for byte, and its instructions or none."""
    offer = offer_of([PROMPTS], is_alone=True)
    assert offer.capabilities == b'{"prompts":{},"completions":{},"x":{"y":1.0}}'
    assert (offer.instructions, offer.is_mirror) == ("b", True)
    assert offer_of([Introduction()], is_alone=True).instructions is None


def test_an_introduction_that_is_malformed_says_nothing() -> None:
    """A sloppy backend is served all the same."""
    for raw in (b"", b"[]", b'{"capabilities":[]}', b'{"capabilities":null}', b'{"capabilities":{"tools":null}}'):
        assert not read_introduction(raw).has("tools")
    assert read_introduction(b'{"instructions":7,"capabilities":{"tools":{}}}') == Introduction(TOOLS.capabilities)
    assert read_introduction(b'{"capabilities":{"resources":{"subscribe":true}}}').flag("resources", "subscribe")
    for raw in (b'{"resources":{"subscribe":false}}', b'{"resources":{}}', b'{"resources":7}', b"{}"):
        assert not read_introduction(b'{"capabilities":%b}' % raw).flag("resources", "subscribe")
