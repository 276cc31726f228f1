"""Training: the loop, its checkpoints, and what they need."""
