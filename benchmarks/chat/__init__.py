"""The chat rows: our /v1 beside a Starlette+aiohttp pass-through, nginx and LiteLLM, on one provider, in one run."""
