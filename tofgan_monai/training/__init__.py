"""The training loop, and the files that it writes: the checkpoint with its recipe, the weights and the history."""
