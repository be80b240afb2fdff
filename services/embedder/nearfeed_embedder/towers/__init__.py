"""Recommenders of two stages whose first is a network over readers, a tower."""
