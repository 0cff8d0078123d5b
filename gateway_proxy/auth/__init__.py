"""Token → Principal: who is calling. Nothing about what a surface does with the caller may be put here."""
