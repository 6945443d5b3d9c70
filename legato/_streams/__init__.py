"""Live sequences of a trained model, and the stores that keep their state."""
