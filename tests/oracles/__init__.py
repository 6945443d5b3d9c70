"""Slow and obvious second roads to the numbers legato computes, in plain NumPy."""
