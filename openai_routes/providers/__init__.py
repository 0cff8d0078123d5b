"""The LLM APIs: one module per wire format, each a translator between it and `openai_routes.turn`."""
