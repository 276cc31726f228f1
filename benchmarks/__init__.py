"""How fast Lockstep is, against diffusers: `python -m benchmarks` from the repository's root."""
