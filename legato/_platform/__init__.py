"""Interfaces to Keras, JAX and the file system; checks and wording that all folders share."""
