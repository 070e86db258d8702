"""The client of the Kronvex REST API; `backends/kronvex.py` puts its parts together."""
