"""From a configuration file to the database: read → expand → convert → check → compare → apply, and back (export).

The command line and the admin API both enter here. No HTTP and no settings: the environment is passed in.
"""
