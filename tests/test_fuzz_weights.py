"""Weights, checkpoints and statistics with wrong bytes: read, or one line, and nothing is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from fuzzing import damaged, one_line
from lockstep.core.errors import LockstepError
from lockstep.core.weights import read_tensors
from lockstep.evaluation import classifier, reference
from lockstep.evaluation.frechet import Normal
from lockstep.training.checkpoint import Checkpoint, Checkpoints

_ALL = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
_WHOLE = save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(3, dtype=torch.int64)})


def _with_header(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


@st.composite
def _safetensors(draw: st.DrawFn) -> bytes:
    """The file damaged, or with a header that is whole and says anything."""
    if draw(st.booleans()):
        return draw(damaged(_WHOLE))
    dtype = st.sampled_from(
        [
            *(
                "F32",
                "F64",
                "F16",
                "BF16",
                "I8",
                "U16",
                "U64",
                "BOOL",
                "F8_E4M3",
                "F8_E8M0",
                "F4",
                "C64",
            ),
            *("F6_E2M3", "F8_E5M2FNUZ", "x", "", None, 5),
        ]
    )
    number = st.sampled_from([0, 1, 4, 8, 12, 24, 48, -1, 2**31, 2**63, 2**64, 1.5, None, "x"])
    tensor = st.fixed_dictionaries(
        {
            "dtype": dtype,
            "shape": st.lists(number, max_size=3),
            "data_offsets": st.lists(number, min_size=1, max_size=2),
        }
    )
    header: Any = draw(
        st.dictionaries(st.sampled_from(["a", "b", "__metadata__", "\ud800", ""]), tensor)
    )
    return _with_header(json.dumps(header).encode(), bytes(draw(st.sampled_from([0, 4, 24, 48]))))


def _one(dtype: str, bits: int) -> bytes:
    header = {"a": {"dtype": dtype, "shape": [8], "data_offsets": [0, bits]}}
    return _with_header(json.dumps(header).encode(), bytes(bits))


@_ALL
@given(_safetensors())
@example(_one("F4", 4))
@example(_one("F8_E8M0", 8))
@example(_one("F6_E2M3", 6))
@example(_with_header(b"[" * 50_000, b""))
@example(struct.pack("<Q", 2**63) + b"{}")
def test_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    try:
        found = read_tensors(path)
    except LockstepError as error:
        assert one_line(error).startswith(f"{path}: ")
    else:
        assert all(isinstance(tensor, torch.Tensor) for tensor in found.values())


@_ALL
@given(st.data())
def test_the_newest_whole_checkpoint_is_found(tmp_path: Path, data: st.DataObject) -> None:
    checkpoints = Checkpoints(tmp_path / "scratch", keep=3)
    for step in (1, 2, 3):
        checkpoints.save(
            Checkpoint(step, {"x": torch.full((3,), float(step))}, {"history": [step]})
        )
    folder = tmp_path / "scratch/step-000000003"
    name = data.draw(st.sampled_from(["state.safetensors", "record.json"]))
    (folder / name).write_bytes(data.draw(damaged((folder / name).read_bytes())))
    found = checkpoints.latest()
    assert found is not None and found.step in (2, 3)
    if found.step == 2:
        assert found.tensors["x"].tolist() == [2.0] * 3


# --- what others write with pickle


class _Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def _saved(content: Any, *, is_old: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not is_old)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.booleans(), st.data())
def test_a_checkpoint_of_the_evaluator(tmp_path: Path, is_old: bool, data: st.DataObject) -> None:
    path = tmp_path / "checkpoint.pth"
    whole = _saved(
        {"model": {"fc.weight": torch.zeros(3), "fc.bias": [1, {"a": (2.5, "x")}]}}, is_old=is_old
    )
    path.write_bytes(data.draw(damaged(whole)))
    with pytest.raises(LockstepError) as caught:
        classifier.official(path, 3)
    assert one_line(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "content",
    [5, [], {}, {"model": 5}, {"model": {}}, {"model": {1: 2}}, {"model": {"a": None}}],
    ids=str,
)
def test_a_file_that_is_no_such_checkpoint(tmp_path: Path, content: Any) -> None:
    (tmp_path / "x.pth").write_bytes(_saved(content))
    for path in (tmp_path / "x.pth", tmp_path):
        with pytest.raises(LockstepError) as caught:
            classifier.official(path, 3)
        one_line(caught.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """In the evaluator's checkpoint, in weights, and in the arrays of statistics."""
    folder, path = tmp_path / "made", tmp_path / "x.npz"
    payload = _Payload(str(folder))
    files = [_saved({"model": payload}), _saved(payload, is_old=True), pickle.dumps(payload)]
    arrays = io.BytesIO()
    np.savez(arrays, mu=np.array([payload]), sigma=np.zeros((1, 1)))
    for content in (*files, arrays.getvalue()):
        path.write_bytes(content)
        for read in (lambda: classifier.official(path, 3), lambda: read_tensors(path)):
            with pytest.raises(LockstepError):
                read()
        with pytest.raises(LockstepError):
            reference.load(path)
    assert not folder.exists()


# --- statistics


def _statistics(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _promising(shape: str) -> bytes:
    """An array whose header says that it is larger than it is."""
    whole = _statistics(mu=np.zeros(3), sigma=np.eye(3))
    return whole.replace(b"(3,), } " + b" " * (len(shape) - 4), f"{shape}, }} ".encode())


@_ALL
@given(st.data())
def test_statistics(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x.npz"
    reference.save(
        path, reference.Statistics(Normal(np.zeros(3), np.eye(3)), np.zeros((2, 3), np.float32), 2)
    )
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    try:
        found = reference.load(path)
    except LockstepError as error:
        assert one_line(error).startswith(f"{path}: ")
    else:
        assert found.normal.covariance.shape == (3, 3) and found.features.shape[1] == 3


@pytest.mark.parametrize(
    "content",
    [
        _statistics(mu=np.zeros((3, 3)), sigma=np.eye(3)),
        _statistics(mu=np.zeros(()), sigma=np.eye(1)),
        _statistics(mu=np.zeros(3), sigma=np.eye(3), features=np.zeros((2, 4))),
        _statistics(mu=np.zeros(3), sigma=np.eye(3), features=np.zeros(3)),
        _statistics(mu=np.array(["a"]), sigma=np.eye(1)),
        _statistics(mu=np.zeros(3), sigma=np.eye(3), count=np.zeros(3)),
        _statistics(sigma=np.eye(3)),
        _promising("(3000000000000,)"),
        b"PK\3\4",
        b"",
    ],
    ids=lambda content: str(len(content)),
)
def test_what_is_no_statistics(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(LockstepError, match="no statistics with mu and sigma"):
        reference.load(path)
