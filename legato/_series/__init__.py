"""Reads files as sequences and frames them as samples; loads neither Keras nor JAX."""
