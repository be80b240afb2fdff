"""Which ids belong to one user, and which users were erased."""
