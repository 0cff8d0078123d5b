"""The client of one request, as surfaces describe it. Nothing that identifies the user: that is the TenantContext."""

from gateway_proxy.backends.caller import SERVER_REQUESTS, Caller, read_declared, without_tasks

__all__ = ["SERVER_REQUESTS", "Caller", "read_declared", "without_tasks"]
