"""Stand-ins for LLM APIs, and what is needed to put the /v1 surface on a real socket in a test."""
