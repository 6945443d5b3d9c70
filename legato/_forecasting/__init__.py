"""Training on sequences: from data to a scored model, and to its forecasts, labels and texts."""
