"""``Model`` and ``Sequential``: Keras's verbs, with recurrent state carried."""
