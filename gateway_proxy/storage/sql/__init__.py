"""The relational truth: tables, and one module of plain functions per aggregate, entered through `Database.run`."""
