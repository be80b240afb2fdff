"""The process: wiring, server and command line."""
