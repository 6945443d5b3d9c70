"""Recurrent layers, the state they carry, and the kernels that compute them."""
