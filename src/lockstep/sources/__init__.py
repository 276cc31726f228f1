"""Where images come from: each source collects a folder of images with their conditions.

May import `core`, `config`, `data`, `models` and `synthetic`.
"""
