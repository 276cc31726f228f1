"""Evaluators, references, and the figures of generated images.

May import `core`, `config`, `models`, `data`, `sampling` and `training`.
"""
