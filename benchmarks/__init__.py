"""Measures the gateway beside its peers in one interleaved run: `scripts/bench`, `scripts/bench --short`.

Only ratios within one run mean something; the figures of two runs, or of two machines, are never compared.
"""
