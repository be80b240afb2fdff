"""What was served, and what came of it."""
