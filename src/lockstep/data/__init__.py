"""The formats that pass between stages: data set, labels, captions, annotations, latents."""
