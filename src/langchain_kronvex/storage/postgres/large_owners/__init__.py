"""large_owners."""
