"""Rankers: what scores candidates by what was known of reader and post when these were served."""
