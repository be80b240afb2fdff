"""Feed, pages and similar posts: each hydrates its user once, runs pipelines, and shows what SQL allows."""
