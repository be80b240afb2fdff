"""What the indexer counts."""

from prometheus_client import Counter

STORED = Counter("nearfeed_vectors_stored_total", "Vectors put into a space.", ["space"])
DROPPED = Counter("nearfeed_vectors_dropped_total", "Vectors that have no effect.", ["reason"])
