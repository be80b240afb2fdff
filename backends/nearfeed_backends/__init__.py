"""One module per back end; each is opened by its URL."""
