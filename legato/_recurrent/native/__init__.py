"""The native kernel in C++: its sources, and how they are compiled."""
