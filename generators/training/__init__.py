"""Training: data on the fly, the loop and its checkpoints, metrics on feature vectors."""
