"""Runs of ``fit``, ``evaluate`` and ``predict``: data adapter, compiled loop and callbacks."""
