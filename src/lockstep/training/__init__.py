"""The training loop, its batches, checkpoints and averages of the weights.

May import `core`, `config`, `diffusion`, `models` and `data`.
"""
