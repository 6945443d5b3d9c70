"""What Keras, JAX and the operating system need: the backend, private names, files, checks."""
