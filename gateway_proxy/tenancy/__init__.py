"""Principal → TenantContext: where the caller acts. Nothing that picks a tenant from a request may stand here."""
