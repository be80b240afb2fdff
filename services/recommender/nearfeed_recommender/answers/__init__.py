"""What goes out: the feed, pages and what is similar, each post with its reason."""
