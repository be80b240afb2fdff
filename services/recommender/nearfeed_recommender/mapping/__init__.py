"""How an app's own rows and messages become Nearfeed's: the vocabulary of its YAML maps."""
