"""The surface /mcp, driven as ASGI, with a router that does as it is told and a real session store."""
