"""Keys of the API that are kept in SQL, beside those that the settings name."""
