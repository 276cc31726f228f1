"""Faces found in images, chosen by their landmarks, cut out upright and all of one size."""
