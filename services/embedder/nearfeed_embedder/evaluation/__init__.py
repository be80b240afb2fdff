"""How good a model is: splits of engagements, full rankings of all posts, and metrics."""
