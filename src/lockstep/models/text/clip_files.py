"""A CLIP model of `transformers`, from a folder or by its name: weights are safetensors only.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021
(arXiv:2103.00020).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from lockstep.core import device as hardware
from lockstep.core import hashing, paths
from lockstep.core.errors import LockstepError

T = TypeVar("T")
_TOKENIZER = "tokenizer.json (or vocab.json and merges.txt)"


def library() -> Any:
    """The package `transformers`. Raises `LockstepError` if it is not installed."""
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise LockstepError(
            f"a pretrained text encoder wants the package transformers ({error}); "
            "pip install -e '.[pretrained]'"
        ) from None


def given(encoder: str, sha256: str | None) -> str:
    """What `text.encoder` names: a folder, whose hash must be `text.encoder_sha256`, or a name.

    Raises `LockstepError` if the folder is not what the hash says.
    """
    source = paths.folder_or_name(encoder)
    if isinstance(source, Path):
        hashing.verify(source, sha256, "text.encoder")
    return str(source)


def kind(source: str) -> str:
    """What `config.json` says the model is: "clip" has images and text, "clip_text_model" text.

    Raises `LockstepError` if it is another kind of model, there is none, or it cannot be fetched.
    """
    of = library().CLIPConfig
    config, _ = _read(source, "config.json", lambda **how: of.get_config_dict(source, **how))
    found = config.get("model_type")
    if found not in ("clip", "clip_text_model"):
        raise LockstepError(
            f"{source}: no CLIP text model (its kind is {found!r}); give one whose config.json has "
            "the model_type clip or clip_text_model"
        )
    return found


def model(class_name: str, source: str) -> Any:
    """The frozen model of a class of `transformers`, in float32, on the device.

    Weights that the class has no use for are passed over: a whole CLIP will do for its text half.

    Raises `LockstepError` if it cannot be read or fetched, or lacks some of the weights.
    """
    of = getattr(library(), class_name)
    found, report = _read(
        source,
        "model.safetensors",
        lambda **how: of.from_pretrained(
            source, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **how
        ),
    )
    if missing := sorted(report["missing_keys"]):
        # transformers would begin them at random.
        raise LockstepError(
            f"{source}: its weights lack {missing[0]} ({len(missing)} in all); get it once more"
        )
    return found.to(hardware.device()).eval().requires_grad_(False)


def tokenizer(source: str, vocabulary: int) -> Any:
    """The tokeniser of a model whose text half has `vocabulary` ids.

    Raises `LockstepError` if its files are missing or damaged, or belong to another model.
    """
    of = library().CLIPTokenizer
    found = _read(source, _TOKENIZER, lambda **how: of.from_pretrained(source, **how))
    # Without its files transformers makes one that knows no words, and says nothing.
    if not json.loads(found.backend_tokenizer.to_str())["model"]["merges"]:
        raise LockstepError(f"{source}: has no tokeniser; put {_TOKENIZER} there")
    if (highest := max(found.get_vocab().values())) >= vocabulary:
        raise LockstepError(
            f"{source}: its tokeniser has ids up to {highest}, the model {vocabulary} words; put "
            "the tokeniser of this model there"
        )
    return found


def processor(source: str) -> Any:
    """What makes the model's input of an image. Raises `LockstepError` as the others."""
    of, part = library().CLIPImageProcessor, "preprocessor_config.json"
    return _read(source, part, lambda **how: of.from_pretrained(source, **how))


def _read(source: str, part: str, read: Callable[..., T]) -> T:
    """What `read` gives of a `part`; a folder is read without a glance at the network."""
    folder = Path(source).is_dir()
    try:
        with quietly():
            return read(local_files_only=folder)
    except Exception as error:  # the library's parts have no narrower one in common
        reason = " ".join(str(error).split())[:200]
    if folder:
        raise LockstepError(
            f"{source}: cannot read its {part} ({reason}); give the folder of a CLIP as "
            f"save_pretrained writes it, with {part}"
        )
    raise LockstepError(
        f"{source}: no folder, and no CLIP whose {part} can be fetched ({reason}); run it again "
        "where there is a network, or give the folder of a copy"
    )


@contextmanager
def quietly() -> Iterator[None]:
    """A block without the library's warnings, which list every weight that is passed over."""
    logging = library().logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
