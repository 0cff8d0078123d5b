"""The client of one request, as surfaces describe it. Nothing that identifies the user: that is the TenantContext."""

from gateway_proxy.backends.caller import SERVER_REQUESTS, Caller

__all__ = ["SERVER_REQUESTS", "Caller"]
