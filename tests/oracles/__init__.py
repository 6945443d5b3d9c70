"""Oracles: plain NumPy implementations of what legato computes."""
