"""Influence, replicates under many seeds, and statistics of their scores."""
