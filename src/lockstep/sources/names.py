"""What the stages that collect images leave to one another, and under which names."""

ARTICLE = r"[MG]\.\d{1,10}\.A\.[0-9A-Fa-f]{1,8}"
"""An article's id, as a regular expression: `M.<unix seconds>.A.<hex>`, `G.` if kept for good."""

IMAGES = "images.json"
"""The list of images' addresses that a crawl leaves to the download."""
MANIFEST = "manifest.jsonl"
"""The lines on images that the download leaves to the cropping."""
CROPS = "crops"
"""The folder of faces that the cropping leaves to the data set: `<image>_<number>.png`."""
