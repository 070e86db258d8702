"""Where memories are kept: one seam, `base.py`, and one module for each kind of store."""
