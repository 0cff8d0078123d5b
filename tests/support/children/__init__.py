"""Small MCP servers over stdio, each with one habit that a runner must live with. Run with `python -m`."""
