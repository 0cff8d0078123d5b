"""The session store: one suite on both implementations."""
