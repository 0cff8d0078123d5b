"""The official conformance suite, directly against a server with everything and through the gateway, check by check.

`scripts/conformance` runs it. What is compared and how lies in `comparison`; what is run against what, in `targets`.
"""
