"""What is kept in Redis: the client and the keys. Functions, no decisions."""
