"""Nouns of the gateway: frozen values and the errors about them. Standard library only; no I/O, no framework."""
