"""How posts are chosen and ordered for a user: sources, fusion, ranking, re-ranking and the slate."""
