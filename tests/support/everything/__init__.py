"""A server with one of everything in MCP, on the official SDK: what the conformance suite asks a server to have.

It stands alone: `python -m tests.support.everything --http PORT`, or over stdio without arguments. The names and texts
are those of @modelcontextprotocol/conformance. Nothing of the gateway may be imported here: it is the oracle.
"""
