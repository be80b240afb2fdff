"""Who gets what in an experiment, and what came of it: assignment and statistics, pure functions all."""
