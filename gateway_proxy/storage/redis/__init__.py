"""What is kept in Redis: the client, the keys, and news between workers. Functions, no decisions."""
