"""Connections to PostgreSQL and the pools they come from."""
