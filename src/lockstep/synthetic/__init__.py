"""Synthetic data, made on the spot in place of data sets that cannot be fetched.

Scenes with labels or sentences, portraits, heads, and the replica of a board. May import `core`
and `data`.
"""
