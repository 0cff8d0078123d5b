"""Surface /v1: what OpenAI-compatible clients speak. The map of a chat request through this room:

routes → endpoint (method, body, errors) → chat_completions | responses → assistants (which model is meant)
→ tool_bridge (the tenant's tools as functions) → agent_loop (rounds of provider and tools) → providers → stream.

Only `app` mounts it, and it enters the gateway through auth, tenancy, router, egress, limits, storage and telemetry.
"""
