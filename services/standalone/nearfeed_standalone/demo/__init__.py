"""MovieLens as a community: films play the posts."""
