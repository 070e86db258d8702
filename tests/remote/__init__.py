"""Tests of the backend for a Kronvex API, against servers on this machine."""
