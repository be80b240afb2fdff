"""An app's own topics: the vocabulary of the YAML maps, and the consumer that applies them."""
