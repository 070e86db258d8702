"""The store behind a Kronvex REST API."""
