"""Encryption at rest and the keys for signing. Nothing here knows what is sealed or where it is kept."""
