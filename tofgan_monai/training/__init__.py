"""The loop of a training and what it writes: history, weights, checkpoints."""
