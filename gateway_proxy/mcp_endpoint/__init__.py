"""The surface /mcp: Streamable HTTP for clients of both protocol eras. ASGI in, router calls out.

Read it in the order of a request: `asgi` (method, origin, era) → `headers` → `envelope` → `legacy` (≤ 2025-11-25) or
`modern` (2026-07-28) → `call_reply` and `exchange` (one JSON answer or an SSE stream). No backend is spoken to and no
tool chosen here: that is the router's.
"""
