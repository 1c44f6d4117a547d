"""Benchmarks: from a row to its gold to a problem, every one checked."""
