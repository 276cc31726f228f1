"""Where images come from: each module ends in a folder of images with their conditions."""
