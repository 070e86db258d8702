"""`KronvexMemory` and what it is made of."""
