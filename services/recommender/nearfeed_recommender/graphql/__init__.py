"""GraphQL over readers, posts, communities, what was loaded in bulk, and the relations between them."""
