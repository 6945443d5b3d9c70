"""Files → sequences → samples, with NumPy and Polars only: neither Keras nor JAX is loaded."""
