"""The doctor: goes the way that Claude.ai goes to an MCP server, from outside, and says at which step it would fail.

It knows nothing of this gateway and helps with any MCP server. What it sees of the other side is hostile: only short,
printable pieces of it are repeated, never a body and never a secret. Only the command line opens this room; it alone
reaches whatever address the operator types.
"""
