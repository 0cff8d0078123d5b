"""Tests of reading, comparing, applying and exporting configuration."""
