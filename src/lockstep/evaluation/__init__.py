"""Evaluators, references, and the metrics of generated images.

May import `core`, `config`, `models`, `data`, `sampling` and `training`.
"""
