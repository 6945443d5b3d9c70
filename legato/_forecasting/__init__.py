"""Train on a file, score against baselines, then forecast, classify or generate."""
