"""Posts' texts to vectors."""
