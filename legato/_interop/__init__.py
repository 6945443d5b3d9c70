"""Other formats: PyTorch weights and ONNX."""
