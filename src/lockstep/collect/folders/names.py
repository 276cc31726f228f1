"""What a merge leaves, and under which names."""

PICTURES = "pictures"
"""The folder of kept pictures: `1.png`, `2.png`, ..."""
DECISIONS = "decisions.csv"
SHEETS = "sheets"
