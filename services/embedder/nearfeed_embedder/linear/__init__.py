"""Who read what to two roles per post by linear algebra alone: the collaborative part of a vector."""
