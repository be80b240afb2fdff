"""How good models are: splits of readings, full rankings of all posts, and what is told of them."""
