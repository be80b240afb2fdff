"""What is known of readers: rows, vectors, memberships and controls, and how all of it ends."""
