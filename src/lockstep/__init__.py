"""Lockstep: a reproducible, data-versioned pipeline for small diffusion models."""

__version__ = "0.1.0"
