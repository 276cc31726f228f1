"""Faces found in pictures, judged by their landmarks, cut out upright and all of one size."""
