"""The configuration that is served: its schema, validation, versions, and the live copy in each process."""
