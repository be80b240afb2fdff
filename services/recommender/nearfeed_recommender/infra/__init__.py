"""What lies between the service and its back ends: bounded threads, the breaker around the vector store."""
