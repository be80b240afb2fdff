"""Takes posts, interactions and memberships in from files, and goes on where it was broken off."""
