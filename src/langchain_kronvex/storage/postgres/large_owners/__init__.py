"""Searching the memories of very large owners in the database."""
