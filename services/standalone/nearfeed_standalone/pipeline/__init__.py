"""From data to what is served in declared steps, of which none is done twice for the same inputs."""
