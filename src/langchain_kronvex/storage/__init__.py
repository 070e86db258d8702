"""Where memories are kept: one interface, `backend.py`, and a folder for each store."""
