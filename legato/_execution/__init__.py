"""Data → one compiled loop → callbacks: what ``fit``, ``evaluate`` and ``predict`` run."""
