"""A map of a space: where its posts lie on a plane, and where a reader stands among them."""
