"""What a feed costs beside the floor of its framework: latency, rates, memory, start, and each stage."""
