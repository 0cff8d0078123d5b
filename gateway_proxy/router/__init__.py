"""TenantContext + name → Route → result: what a tenant's callers may list and call, and the one place that calls it."""
