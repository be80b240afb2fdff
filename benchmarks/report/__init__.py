"""Sections of documents that hold what was measured: each is made of files in benchmarks/results alone."""
