"""The formats that pass between stages: data set, labels, captions, annotations, latents.

May import `core`, `config`, `diffusion` and `models`.
"""
