"""params.yaml: its schema, how it is read and edited, presets, new workloads; never torch."""
