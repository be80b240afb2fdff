"""Models that are served: neighbour lists, ranked lists, rankers and walk graphs, read from run folders."""
