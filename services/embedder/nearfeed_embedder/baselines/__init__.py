"""What a model must beat. Each is one function of what was read, `(train, history, …) -> Scorer`."""
