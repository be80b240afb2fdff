"""User vectors, feed, HTTP API; needs no torch."""
