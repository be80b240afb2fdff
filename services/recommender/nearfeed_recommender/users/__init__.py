"""Users: what a feed needs of one, kept in memory behind a revision in SQL, and their vectors."""
