"""Of the benchmarks, what judges."""
