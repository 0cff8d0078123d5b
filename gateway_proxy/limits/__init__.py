"""Rate limits: moving windows shared through Redis, in-process without. What is limited is decided elsewhere."""
