"""The gateway's rows in one portable file, and back: every table, either database. No command stands here."""
