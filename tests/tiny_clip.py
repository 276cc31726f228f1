"""A CLIP of random weights, so small that it takes no time."""

from __future__ import annotations

import json
from pathlib import Path

import torch

LENGTH, WIDTH, SIDE = 12, 16, 16
LETTERS = "abcdefghijklmnopqrstuvwxyz,"


def save(folder: Path, width: int = WIDTH) -> None:
    """A folder as that of openai/clip-vit-base-patch32: both halves, tokeniser, processor."""
    import transformers as library

    folder.mkdir(exist_ok=True)
    tokens = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "re", "red</w>"]
    vocabulary = ["<|startoftext|>", *tokens, "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    torch.manual_seed(0)
    both = {
        "hidden_size": width,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = {
        "vocab_size": len(vocabulary),
        "max_position_embeddings": LENGTH,
        "bos_token_id": 0,
        "eos_token_id": len(vocabulary) - 1,
        "pad_token_id": len(vocabulary) - 1,
    }
    config = library.CLIPConfig(
        text_config={**both, **text},
        vision_config={**both, "image_size": SIDE, "patch_size": 8},
        projection_dim=8,
    )
    library.CLIPModel(config).save_pretrained(folder)
    library.CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    ).save_pretrained(folder)
