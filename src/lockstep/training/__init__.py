"""The training loop, its batches, checkpoints and averages of the weights."""
