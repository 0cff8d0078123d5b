"""Tests of the command line's own decisions; whole commands are run in tests/flows."""
