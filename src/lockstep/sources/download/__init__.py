"""Images fetched from where the web says they are, and checked to be images."""
