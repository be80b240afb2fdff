"""Back ends that run in the process of the service itself and keep their data in files."""
