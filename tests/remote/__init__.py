"""The backend for a Kronvex API, against servers of our own on this machine."""
