"""The gateway's side of the conversation with MCP servers: bytes in, bytes out. Who may call what is decided above."""
