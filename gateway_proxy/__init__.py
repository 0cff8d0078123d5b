"""A gateway that puts a team's tools in front of every AI client. The path of a request is the list of rooms:

1. `edge` answers before we know the caller: middleware order, CORS, health.
2. `auth` turns the bearer string into a `Principal`.
3. `tenancy` turns the Principal into a `TenantContext`.
4. `router` turns TenantContext + name into a `Route`, decides policy, makes the call and records it.
5. `backends` (and `runner` for what is not HTTP) talk to the MCP servers.

Surfaces sit on top of that path: `mcp_endpoint` (/mcp), `openai_routes` (/v1, a package of its own),
`admin_api`, `console` and `oauth` (the authorization server). `app` builds them all, `services` and `foundation`
open what they share. Imports point down only; nothing is imported here.
"""
