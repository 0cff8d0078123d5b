"""What is remembered of MCP sessions between two requests, so that any worker can serve the next one.

Records only: nothing here speaks MCP, HTTP or to a backend.
"""
