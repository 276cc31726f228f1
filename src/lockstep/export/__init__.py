"""A trained model as a folder of diffusers: written, described by a card, and pushed to a hub."""
