"""Hosts what is not HTTP: stdio and HTTP+SSE servers, each offered as streamable HTTP to every worker of the gateway.

The path of a message: `asgi` authenticates and routes, `exchange` turns one POST or GET into a conversation's turn,
`conversation` re-mints ids and attributes what comes back, `stdio_wire` or `sse_wire` carries the bytes. `children`
decides which child lives (caps, idle reaping, breaker), `instance` is one life of one child, `keeper` is the tiny
program between us and the child that leaves no orphan. `main` puts it together.

No database, no key of the gateway, no environment variable is read here: what a child needs comes with the request
that launches it, and is kept only as long as the child lives.
"""
