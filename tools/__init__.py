"""What keeps the project in order; nothing of the pipeline imports it."""
