"""Measuring generated pictures."""
