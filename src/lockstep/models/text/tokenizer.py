"""Words as numbers: which words the training prompts have, and a prompt as a row of their ids.

A row's zeros are padding, so the empty prompt is the all-zero row: "unconditional", as everywhere.
The table of words is a `WordLevel` model of the package tokenizers, and its file that package's.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import models, pre_tokenizers

from lockstep.core.errors import LockstepError
from lockstep.core.files import atomic_file, read_json

Ids = TypeVar("Ids", bound=np.generic)

FILE = "tokenizer.json"
PADDING, UNKNOWN = 0, 1
_SPECIAL = ("[PAD]", "[UNK]")  # no word has brackets

# Chinese characters and Japanese kana: written without spaces between words.
_UNSPACED = re.compile(
    "[\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_WORD = re.compile("w[wm]*|a")


@dataclass(frozen=True)
class Unread:
    """The words of prompts that their rows do not have, in the order they stand, repeats too.

    They are in the row, but as the unknown word; or cut off behind its end, known or not.
    """

    unknown: tuple[str, ...]
    cut: tuple[str, ...]


@dataclass(frozen=True)
class Tokenizer:
    """Prompts -> rows of word ids: 0 is padding, 1 the unknown word, then `words` from 2 on.

    Parameters
    ----------
    words
        Each one word as `split` gives it, all different.
    length
        L, the width of a row, 1 or more: later words of a prompt are cut off.
    """

    words: tuple[str, ...]
    length: int

    @cached_property
    def library(self) -> tokenizers.Tokenizer:
        """The package's tokeniser; it reads words as `split` gives them, with spaces between."""
        ids = {word: number for number, word in enumerate((*_SPECIAL, *self.words))}
        made = tokenizers.Tokenizer(models.WordLevel(ids, unk_token=_SPECIAL[UNKNOWN]))
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        made.enable_truncation(self.length)
        made.enable_padding(length=self.length, pad_id=PADDING, pad_token=_SPECIAL[PADDING])
        return made

    @property
    def size(self) -> int:
        """How many ids there are, padding and the unknown word among them."""
        return len(_SPECIAL) + len(self.words)

    def encode(self, prompts: Sequence[str]) -> NDArray[np.int64]:
        """N prompts -> (N, L) ids in [0, size); a row is all zero if its prompt has no word."""
        # One by one: in batches the package starts threads, and warns of every later fork.
        rows = [self.library.encode(" ".join(split(prompt))).ids for prompt in prompts]
        return np.array(rows, np.int64).reshape(-1, self.length)

    def unread(self, prompts: Iterable[str]) -> Unread:
        """Which words of the prompts `encode` does not tell, for a caller to say so."""
        rows, known = [split(prompt) for prompt in prompts], set(self.words)
        read = [word for row in rows for word in row[: self.length]]
        cut = [word for row in rows for word in row[self.length :]]
        return Unread(tuple(word for word in read if word not in known), tuple(cut))

    def save(self, path: Path) -> None:
        """Write the package's `tokenizer.json`; there whole or not at all."""
        with atomic_file(path) as file:
            file.write_text(self.library.to_str(pretty=True), "utf-8")


def build(prompts: Iterable[str], *, length: int, min_count: int = 1) -> Tokenizer:
    """The tokeniser of the words that the prompts have `min_count` times or more, together.

    Of a prompt only the first `length` words count, those that its row has: an embedding of others
    would never be trained. Words are numbered from the most frequent to the rarest, equally
    frequent ones by their characters: the order of the prompts changes nothing. Rarer words are the
    unknown word, whose embedding so is trained; with `min_count` 1 only `forget` trains it. Raises
    `LockstepError` if no word is left, or `length` or `min_count` is below 1.
    """
    for name, value in (("length", length), ("min_count", min_count)):
        if value < 1:
            raise LockstepError(f"{name}: {value} is out of range; use 1 or more")
    counts = Counter(word for prompt in prompts for word in split(prompt)[:length])
    kept = [word for word, count in counts.items() if count >= min_count]
    if not kept:
        raise LockstepError(
            f"min_count: none of the {len(counts)} words of the prompts is there {min_count} "
            "times; lower it, or collect more prompts"
        )
    return Tokenizer(tuple(sorted(kept, key=lambda word: (-counts[word], word))), length)


def load(path: Path) -> Tokenizer:
    """What `Tokenizer.save` wrote. Raises `LockstepError` if it is missing, damaged or older."""
    text = json.dumps(read_json(path))
    if '"model": ' not in text:
        raise LockstepError(f"{path}: no tokeniser, or of an older version; train again")
    try:
        found = tokenizers.Tokenizer.from_str(text)
        words = sorted(ids := found.get_vocab(), key=ids.__getitem__)[len(_SPECIAL) :]
        made = Tokenizer(tuple(words), (found.truncation or {"max_length": 0})["max_length"])
        if wrong := [word for word in words if split(word) != [word]]:
            raise ValueError(f"{wrong[0]!r} is not one word")
        if made.length < 1 or made.library.to_str() != found.to_str():
            raise ValueError("not a tokeniser as Lockstep saves it")
    except Exception as error:  # the package has no narrower one
        raise LockstepError(f"{path}: damaged ({error}); `dvc checkout` restores it") from None
    return made


def split(prompt: str) -> list[str]:
    """The words of a prompt, lower-cased; any string will do.

    The text is normalised first (Unicode's NFKC, full case folding, NFKC), so that wide, ligated
    and capital letters are the plain ones. Then a word is

    - letters and digits in a row, with the marks that belong to them: "64x64", "don", "t";
    - one Chinese character or kana, which no spaces divide;
    - one emoji or other pictorial symbol, without its modifiers.

    Everything else, punctuation above all, divides words and is no word: a comma says little here
    and would take a word's place.
    """
    normal = unicodedata.normalize("NFKC", prompt).casefold()
    text = unicodedata.normalize("NFKC", normal)
    kinds = "".join(map(_kind, text))
    return [text[slice(*found.span())] for found in _WORD.finditer(kinds)]


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """`w` of a word, `m` a mark on what stands before, `a` a word alone, or a space."""
    category = unicodedata.category(character)
    if category in ("So", "Cn"):  # unassigned: an emoji younger than Python's tables
        return "a"
    if category[0] in "LN":
        return "a" if _UNSPACED.match(character) else "w"
    return "m" if category[0] == "M" else " "


def forget(ids: NDArray[Ids], rate: float, random: np.random.Generator) -> NDArray[Ids]:
    """The ids with each word made the unknown word with probability `rate`, in [0, 1].

    So the unknown word's embedding is trained, whether or not the training prompts have rare
    words. It takes one number of `random` for each place, padding too: give it a whole batch and
    the generator of that (seed, step), and resuming or sharing the batch out changes nothing.
    """
    forgotten = (random.random(ids.shape) < rate) & (ids != PADDING)
    return np.where(forgotten, UNKNOWN, ids)
