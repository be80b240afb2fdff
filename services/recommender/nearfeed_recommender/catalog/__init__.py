"""Posts: columns in memory for ranking, texts for showing, and the spaces that hold their vectors."""
