"""Measuring generated images."""
