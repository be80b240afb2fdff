"""What the services agree on: events, run files, tables and the ports of the back ends."""
