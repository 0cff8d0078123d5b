"""What happens before we know the caller: request ids, the Host check, CORS, health. No tenant, no token, no SQL."""
