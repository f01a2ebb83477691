"""The loop of a training, and the files that it writes: checkpoint with its recipe, weights, history."""
