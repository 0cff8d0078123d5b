"""Opens the wire that a launch specification asks for. The SSE one is imported when the first is opened."""

from collections.abc import Callable

from gateway_proxy.runner.framing import Oversized
from gateway_proxy.runner.instance import Wire
from gateway_proxy.runner.launch import LaunchSpec
from gateway_proxy.runner.stdio_wire import StdioWire, Surroundings


def open_wire(
    spec: LaunchSpec,
    on_line: Callable[[bytes | Oversized], None],
    on_end: Callable[[], None],
    *,
    surroundings: Surroundings,
) -> Wire:
    """A wire that is not started yet."""
    if spec.transport == "sse":
        from gateway_proxy.runner.sse_wire import SseWire  # noqa: PLC0415 - an HTTP client that most runners never need

        return SseWire(spec, on_line=on_line, on_end=on_end)
    return StdioWire(spec, surroundings, on_line=on_line, on_end=on_end)
