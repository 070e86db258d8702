"""Requests to a Kronvex REST API and what its responses mean."""
