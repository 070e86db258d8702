"""Which store a memory opens, and how: arguments and environment, checked beforehand."""
