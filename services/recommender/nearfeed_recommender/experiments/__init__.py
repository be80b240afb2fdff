"""Experiments: definition, assignment, bandits, metrics, analysis and monitoring."""
