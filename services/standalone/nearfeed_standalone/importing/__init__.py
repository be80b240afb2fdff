"""Takes posts, interactions and memberships in from files and databases; goes on where it was broken off."""
