"""A small real MCP server, so that a fresh gateway has something to call: `python -m gateway_proxy.demo` on stdio.

It stands alone: nothing of the gateway may be imported here, so that it is also an honest test backend.
"""
