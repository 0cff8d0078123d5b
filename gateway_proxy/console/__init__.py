"""Pages for people: what this gateway is, how to connect a client, and one's own account. No OAuth endpoint."""
