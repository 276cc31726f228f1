"""params.yaml: its schema, how it is read and edited, presets, new workloads.

May import `core`; never torch, so that the command starts quickly.
"""
