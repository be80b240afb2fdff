"""SQL engines on SQLite and MySQL, and the migrations of the schema."""
