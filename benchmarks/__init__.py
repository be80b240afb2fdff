"""Measurements: `make bench` writes benchmarks/results/*.csv."""
