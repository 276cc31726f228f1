"""Faces found in images, judged by their landmarks, cut out upright and all of one size."""
