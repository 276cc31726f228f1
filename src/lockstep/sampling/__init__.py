"""Images from a trained generator, for each kind of condition, and their denoising strips."""
