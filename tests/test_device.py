from __future__ import annotations

import pytest
import torch

from lockstep.core.device import autocast, make_deterministic, resolve_precision
from lockstep.core.errors import LockstepError


def test_auto_is_decided_once_for_this_machine() -> None:
    found = resolve_precision("auto", "train.precision")
    assert found in ("fp32", "bf16")
    assert resolve_precision(found, "train.precision") == found


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has fp16")
def test_fp16_without_a_gpu_is_refused() -> None:
    with pytest.raises(LockstepError, match=r"^train.precision: fp16 wants a GPU, .*; set bf16"):
        resolve_precision("fp16", "train.precision")


def test_a_gpu_without_bf16_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(
        LockstepError, match=r"^evaluator.precision: this GPU has no bf16; set fp16"
    ):
        resolve_precision("bf16", "evaluator.precision")
    assert resolve_precision("auto", "evaluator.precision") == "fp32"
    assert resolve_precision("fp16", "evaluator.precision") == "fp16"


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_products_are_taken_in_the_precision(precision, dtype: torch.dtype) -> None:
    with autocast(precision):
        assert torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3)).dtype == dtype


def test_processes_of_one_machine_share_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        for processes, threads in ((1, 4), (2, 2), (3, 1), (8, 1)):
            monkeypatch.setenv("RANK", "0")
            monkeypatch.setenv("WORLD_SIZE", str(processes))
            monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
            make_deterministic(4)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(False)
