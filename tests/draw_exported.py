"""A stranger's program: `draw_exported.py CASES OUT` loads exported folders with diffusers alone.

CASES is a JSON list of {name, folder, call, seeds}; OUT gets the images of each by name, (N, 3, H,
W) in [0, 1]. It runs in an environment without the project.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline


def main(cases: Path, out: Path) -> None:
    assert find_spec("lockstep") is None
    found = {}
    for case in json.loads(cases.read_text()):
        own = (Path(case["folder"]) / "pipeline.py").exists()
        how = {"custom_pipeline": case["folder"], "trust_remote_code": True} if own else {}
        pipe = DiffusionPipeline.from_pretrained(case["folder"], **how)
        pipe.set_progress_bar_config(disable=True)
        noise = [torch.Generator().manual_seed(seed) for seed in case["seeds"]]
        images = pipe(**case["call"], generator=noise, output_type="np").images
        found[case["name"]] = images.transpose(0, 3, 1, 2)
        found[f"{case['name']}.pipeline"] = np.array(type(pipe).__name__)
    np.savez(out, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
