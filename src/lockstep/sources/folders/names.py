"""What a merge leaves, and under which names."""

IMAGES = "images"
"""The folder of kept images: `1.png`, `2.png`, ..."""
DECISIONS = "decisions.csv"
SHEETS = "sheets"
