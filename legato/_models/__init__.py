"""``Model`` and ``Sequential``: Keras's models with carried recurrent state, and their files."""
