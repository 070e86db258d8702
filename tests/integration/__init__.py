"""Real stores, real processes, real faults."""
