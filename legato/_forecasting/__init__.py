"""A file → a trained, scored model → its forecasts, labels and texts."""
