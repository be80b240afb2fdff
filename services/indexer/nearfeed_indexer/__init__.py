"""Puts vectors and contexts where they can be searched, and owns the spaces."""
