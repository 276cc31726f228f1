"""Images from a trained generator, for each kind of condition, and their denoising strips.

May import `core`, `config`, `diffusion`, `models` and `data`.
"""
