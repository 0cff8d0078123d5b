"""How long the database is waited for, in seconds. Somebody waits for the answer: 503 after 5 s (security D4, O4)."""

from typing import Final

WAIT_SECONDS: Final = 4.0  # for a connection, for a lock, for one statement
DEADLINE_SECONDS: Final = 4.5  # for all of that together
COMMAND_SECONDS: Final = 60.0  # for the same of a command, which may write a whole tenant in one transaction
QUEUE_SECONDS: Final = 10.0  # of SQLite, where nothing freezes, but writers stand in line
