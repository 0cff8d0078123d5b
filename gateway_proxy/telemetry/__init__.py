"""What the operator sees: logs, metrics and the audit trail. Nothing here decides anything."""
