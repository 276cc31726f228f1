"""Words as numbers, the encoder that is trained with the generator, and frozen contexts."""

from __future__ import annotations

import dataclasses
import json
import random
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lockstep.core.errors import LockstepError
from lockstep.core.weights import load_weights, save_weights
from lockstep.models.text import (
    FrozenText,
    PooledText,
    ScratchConfig,
    ScratchTextEncoder,
    tokenizer,
)
from lockstep.models.text.tokenizer import PADDING, UNKNOWN, forget, split

PROMPTS = [
    "A red cube, left of a blue sphere.",
    "A blue cube behind a red cylinder.",
    "Nothing but a sphere",
]
WORDS = tokenizer.build(PROMPTS, length=8)
SMALL = ScratchConfig(words=WORDS.size, length=WORDS.length, width=16, layers=2, heads=4)
# Hypothesis' own text has few words, and no halves of surrogate pairs.
TEXT = st.text() | st.lists(
    st.sampled_from([*WORDS.words, ",", " ", "😀", "紅", "\ud83d", "\u0301", "\u200d", "Ⅷ", "ﬁ"])
).map("".join)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("A Red CUBE, left of the sphere's side.", "a red cube left of the sphere s side"),
        ("two-tone 64x64\timages\n(3.5)", "two tone 64x64 images 3 5"),
        ("ＲＥＤ ﬁre Straße Ⅷ", "red fire strasse viii"),
        ("café cafe\u0301 ΐδη", "café café ΐδη"),
        ("一個紅色的cube。", "一 個 紅 色 的 cube"),
        ("ねこ ﾈｺ ガラス 빨간 공", "ね こ ネ コ ガ ラ ス 빨간 공"),
        ("😀red🟥👍🏽❤️ 👩‍🚀", "😀 red 🟥 👍 ❤ 👩 🚀"),
        ("red\U0001fae9cube", "red \U0001fae9 cube"),  # of 2024: unknown to older Pythons
        ("हिन्दी שלום", "हिन्दी שלום"),
        ("...", ""),
        ("", ""),
    ],
)
def test_what_a_word_is(prompt: str, words: str) -> None:
    assert split(prompt) == [unicodedata.normalize("NFC", word) for word in words.split()]


@settings(deadline=None)
@given(TEXT)
@example("ΑΣ")  # the last sigma of a word is another letter
@example("İ")
def test_any_text_has_words_and_they_are_words_again(text: str) -> None:
    words = split(text)
    assert split(" ".join(words)) == words
    assert split(f"  {text.upper()}!") == split(text.upper())
    assert all(split(word) == [word] for word in words)


def test_every_character_is_read_one_way() -> None:
    for number in range(0x33000):  # nothing but tags and private use comes later
        words = split(chr(number))
        assert split(" ".join(words)) == words, hex(number)


@settings(deadline=None)
@given(st.lists(TEXT, max_size=5))
@example(["red " * 500, "zebra", ""])
def test_a_row_is_zero_where_nothing_is_there(prompts: list[str]) -> None:
    rows = WORDS.encode(prompts)
    assert rows.shape == (len(prompts), 8)
    assert rows.dtype == np.int64
    assert ((rows >= 0) & (rows < WORDS.size)).all()
    for row, prompt in zip(rows, prompts, strict=True):
        count = min(len(split(prompt)), 8)
        assert (row[:count] != PADDING).all()
        assert (row[count:] == PADDING).all()
    unread = WORDS.unread(prompts)
    assert len(unread.unknown) == (rows == UNKNOWN).sum()
    assert len(unread.cut) == sum(max(0, len(split(prompt)) - 8) for prompt in prompts)


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXT), st.lists(TEXT), st.integers(1, 5), st.integers(1, 3))
def test_ids_are_those_of_a_table_in_a_few_lines(
    prompts: list[str], others: list[str], length: int, min_count: int
) -> None:
    prompts = [*prompts, *["red cube", "Red"] * 3]
    counts = Counter(word for prompt in prompts for word in split(prompt)[:length])
    common = [word for word in counts if counts[word] >= min_count]
    numbered = {word: 2 + i for i, word in enumerate(sorted(common, key=lambda w: (-counts[w], w)))}
    built = tokenizer.build(prompts, length=length, min_count=min_count)
    expected = [
        ([numbered.get(word, UNKNOWN) for word in split(prompt)] + [PADDING] * length)[:length]
        for prompt in [*prompts, *others]
    ]
    assert built.encode([*prompts, *others]).tolist() == expected
    assert built.words == tuple(numbered)


@settings(deadline=None)
@given(st.lists(TEXT, min_size=1), st.integers(1, 3), st.randoms())
def test_the_order_of_the_prompts_changes_nothing(
    prompts: list[str], min_count: int, shuffled: random.Random
) -> None:
    prompts = [*prompts, "red red red"]
    built = tokenizer.build(prompts, length=4, min_count=min_count)
    shuffled.shuffle(prompts)
    assert tokenizer.build(prompts, length=4, min_count=min_count) == built
    # Only the words that a row has count.
    counts = [sum(split(prompt)[:4].count(word) for prompt in prompts) for word in built.words]
    assert counts == sorted(counts, reverse=True)
    assert min(counts) >= min_count


@settings(max_examples=25, deadline=None)
@given(st.lists(TEXT))
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, texts) -> None:
    path = tmp_path_factory.getbasetemp() / "words.json"
    built = tokenizer.build([*texts, "red"], length=5)
    built.save(path)
    assert tokenizer.load(path) == built
    assert (tokenizer.load(path).encode(texts) == built.encode(texts)).all()


def test_the_words_are_numbered_by_how_many_there_are() -> None:
    assert WORDS.words[:6] == ("a", "blue", "cube", "red", "sphere", "behind")
    assert WORDS.encode(["Red a blue zebra!", ""]).tolist() == [
        [5, 2, 3, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
    rare = tokenizer.build(PROMPTS, length=8, min_count=2)
    assert rare.words == ("a", "blue", "cube", "red", "sphere")
    assert (rare.encode(PROMPTS) == UNKNOWN).sum() == 6


def test_what_a_row_does_not_tell_is_said() -> None:
    unread = WORDS.unread(["a zebra and a cube", "red " * 500, "a a a a a a a a zebra"])
    assert unread.unknown == ("zebra", "and")
    assert unread.cut == ("red",) * 492 + ("zebra",)
    assert (WORDS.encode(["red " * 500]) == 5).all()


def test_no_words_are_an_error() -> None:
    with pytest.raises(LockstepError, match=r"min_count: none of the 2 words .* is there 2 times"):
        tokenizer.build(["red cube", "..."], length=4, min_count=2)
    with pytest.raises(LockstepError, match="length: 0 is out of range"):
        tokenizer.build(PROMPTS, length=0)
    with pytest.raises(LockstepError, match="min_count: 0 is out of range"):
        tokenizer.build(PROMPTS, length=4, min_count=0)


def test_the_file_is_the_package_s(tmp_path: Path) -> None:
    WORDS.save(tmp_path / "words.json")
    read = tokenizers.Tokenizer.from_file(str(tmp_path / "words.json"))
    assert read.encode("red a blue zebra").ids == [5, 2, 3, 1, 0, 0, 0, 0]
    assert read.get_vocab_size() == WORDS.size
    assert read.token_to_id("[PAD]") == PADDING
    assert read.token_to_id("[UNK]") == UNKNOWN


VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "red": 2, "cube": 3}


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("truncation", {"max_length": 0}, r"not a tokeniser as Lockstep saves it"),
        ("truncation", {"max_length": "8"}, r"invalid type"),
        ("truncation", {"max_length": 7}, r"not a tokeniser as Lockstep saves it"),
        ("truncation", {"direction": "Left"}, r"not a tokeniser as Lockstep saves it"),
        ("padding", {"pad_id": 1}, r"not a tokeniser as Lockstep saves it"),
        ("model", {"vocab": {**VOCABULARY, "cube": 2}}, r"not a tokeniser as Lockstep saves it"),
        ("model", {"vocab": {**VOCABULARY, "ball": 5}}, r"not a tokeniser as Lockstep saves it"),
        ("model", {"vocab": {"red": 0, "cube": 1}}, r"not a tokeniser as Lockstep saves it"),
        ("model", {"vocab": {**VOCABULARY, "Red": 4}}, r"'Red' is not one word"),
        ("model", {"vocab": {**VOCABULARY, "red cube": 4}}, r"'red cube' is not one word"),
        ("model", {"type": "BPE"}, r"damaged"),
    ],
)
def test_a_damaged_file_is_said(tmp_path: Path, part: str, changes, message: str) -> None:
    path = tmp_path / "words.json"
    tokenizer.Tokenizer(("red", "cube"), 8).save(path)
    record = json.loads(path.read_text("utf-8"))
    record[part] |= changes
    path.write_text(json.dumps(record))
    with pytest.raises(LockstepError, match=message) as caught:
        tokenizer.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"damaged .*; `dvc checkout` restores it"),
        (b"{", r"damaged .*; `dvc checkout` restores it"),
        (b"\xff\xfe", r"damaged .*; `dvc checkout` restores it"),
        (b'{"model": {}}', r"damaged .*; `dvc checkout` restores it"),
        (b"[]", r"damaged .*; `dvc checkout` restores it"),
        (b"null", r"damaged .*; `dvc checkout` restores it"),
        (b'{"words": 5}', r"no tokeniser.*; train again"),
        (b'{"length": 8, "words": ["red", "model"]}', r"of an older version; train again"),
    ],
)
def test_no_such_file_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "words.json"
    with pytest.raises(LockstepError, match=r"words.json: missing; `dvc repro` makes it"):
        tokenizer.load(path)
    path.write_bytes(content)
    with pytest.raises(LockstepError, match=rf"words\.json: .*{message}$") as caught:
        tokenizer.load(path)
    assert "\n" not in str(caught.value)


def test_words_are_forgotten_by_their_rate_and_padding_never() -> None:
    ids = WORDS.encode(PROMPTS * 400)
    forgotten = forget(ids, 0.1, np.random.default_rng(0))
    assert (forgotten[ids == PADDING] == PADDING).all()
    changed = forgotten != ids
    assert (forgotten[changed] == UNKNOWN).all()
    assert changed.sum() / (ids != PADDING).sum() == pytest.approx(0.1, abs=0.01)
    assert (forget(ids, 0.1, np.random.default_rng(0)) == forgotten).all()
    assert (forget(ids, 0.0, np.random.default_rng(0)) == ids).all()
    assert (forget(ids, 1.0, np.random.default_rng(0)) == (ids != PADDING)).all()


def test_forgetting_takes_as_many_numbers_whatever_stands_there() -> None:
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    forget(WORDS.encode(PROMPTS), 0.5, one)
    forget(WORDS.encode([""] * 3), 0.0, other)
    assert one.random() == other.random()


def encoder(config: ScratchConfig = SMALL, seed: int = 0) -> ScratchTextEncoder:
    torch.manual_seed(seed)
    return ScratchTextEncoder(config)


def ids(*prompts: str) -> Tensor:
    return torch.from_numpy(WORDS.encode(prompts))


def test_context_and_mask() -> None:
    context, mask = encoder()(ids("a red cube", "", "red " * 500))
    assert context.shape == (3, 9, 16)
    assert mask.dtype == torch.bool
    assert mask.sum(dim=1).tolist() == [4, 1, 9]
    assert mask[:, 0].all()
    assert mask[0, :4].all()
    assert torch.isfinite(context).all()
    assert (context[~mask] == 0).all()


def test_the_empty_prompt_is_learned() -> None:
    model = encoder()
    rows = ids("a red cube", "")
    dropped, _ = model(rows * torch.tensor([[0], [1]]))
    assert torch.equal(dropped[0], dropped[1])
    assert torch.equal(dropped, model(torch.zeros(2, 8))[0])
    assert not torch.allclose(dropped[0], model(rows)[0][0], atol=0.1)
    dropped[:, 0, 0].sum().backward()
    assert model.beginning.grad is not None
    assert model.beginning.grad.abs().sum() > 0
    assert model.words.weight.grad is None or not model.words.weight.grad.any()


def test_padding_has_no_part_in_the_words() -> None:
    short = encoder(dataclasses.replace(SMALL, length=3))
    long = encoder(dataclasses.replace(SMALL, length=8))
    weights = short.state_dict()
    positions = torch.cat((weights.pop("positions"), torch.randn(5, 16)))
    long.load_state_dict({**weights, "positions": positions})
    with torch.no_grad():
        long.words.weight[PADDING] = 100
    row = ids("a red cube", "sphere")
    expected, _ = short(row[:, :3])
    found, _ = long(row)
    for number, words in enumerate((4, 2)):
        assert torch.allclose(found[number, :words], expected[number, :words], atol=1e-6)


def test_where_a_word_stands_matters() -> None:
    model = encoder()
    one, other = model(ids("red cube blue sphere", "blue cube red sphere"))[0]
    assert not torch.allclose(one[0], other[0], atol=0.05)
    assert not torch.allclose(one[2], other[2], atol=0.05)  # "cube"


def test_words_are_not_drowned_at_the_start() -> None:
    model = encoder(dataclasses.replace(SMALL, width=64))
    contexts = model(ids(*WORDS.words))[0][:, 1]
    distances = torch.cdist(contexts, contexts) + torch.eye(len(contexts)) * 1e9
    # Each has 64 numbers of variance 1: unrelated ones would be sqrt(128) apart.
    assert distances.min() > 0.6 * 128**0.5


def test_the_gradient_reaches_what_is_there_and_nothing_else() -> None:
    model = encoder()
    context, mask = model(ids("a zebra", "cube"))
    context[mask].square().mul(torch.arange(16.0)).sum().backward()
    grad = model.words.weight.grad
    assert grad is not None
    there = grad.abs().sum(dim=1) > 0
    expected = {UNKNOWN, *ids("a cube").flatten().tolist()} - {PADDING}
    assert set(there.nonzero().flatten().tolist()) == expected
    assert model.positions.grad is not None
    assert model.positions.grad.abs().sum(dim=1)[:2].all()
    assert not model.positions.grad[2:].any()


def test_a_few_steps_of_training_make_words_known() -> None:
    """The colour can be read off the context, also of prompts that were not trained on."""
    model, head = encoder(), torch.nn.Linear(16, 2)
    parameters = [*model.parameters(), *head.parameters()]
    rows, colours = ids("a red cube", "a blue cube", "sphere red", "sphere blue"), [0, 1, 0, 1]
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(head(model(rows)[0][:, 0]), torch.tensor(colours))
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):
            parameter.data -= 0.1 * gradient
    unseen = ids("red sphere behind", "cylinder blue")
    assert head(model(unseen)[0][:, 0]).argmax(dim=1).tolist() == [0, 1]


def test_it_is_the_library_s_layer() -> None:
    """Each layer computes what torch's own with pre-normalisation does."""
    model = encoder()
    rows = ids("a red cube", "", "red " * 8)
    theirs = torch.nn.TransformerEncoderLayer(
        16, 4, 64, dropout=0, activation="gelu", batch_first=True, norm_first=True
    )
    for ours in model.layers:
        state = {
            "norm1": ours.norm_1, "norm2": ours.norm_2, "self_attn.out_proj": ours.out,
            "linear1": ours.feed_forward[0], "linear2": ours.feed_forward[2],
        }  # fmt: skip
        weights = {f"{k}.{p}": getattr(m, p) for k, m in state.items() for p in ("weight", "bias")}
        weights |= {"self_attn.in_proj_weight": ours.qkv.weight}
        weights |= {"self_attn.in_proj_bias": ours.qkv.bias}
        theirs.load_state_dict(weights)
        x, (_, mask) = torch.randn(3, 9, 16), model(rows)
        expected = theirs(x, src_key_padding_mask=~mask)
        assert torch.allclose(ours(x, mask)[mask], expected[mask], atol=1e-5)


def test_it_is_the_same_every_time_and_in_any_batch(tmp_path: Path) -> None:
    rows = ids(*PROMPTS, "")
    once, _ = encoder()(rows)
    assert torch.equal(encoder()(rows)[0], once)
    assert not torch.equal(encoder(seed=1)(rows)[0], once)
    apart = torch.cat([encoder()(row[None])[0] for row in rows])
    assert torch.allclose(apart, once, atol=1e-6)
    save_weights(encoder().state_dict(), tmp_path / "text.safetensors")
    loaded = encoder(seed=1)
    load_weights(loaded, tmp_path / "text.safetensors")
    assert torch.equal(loaded(rows)[0], once)


def test_bfloat16_is_close() -> None:
    model = encoder()
    rows = ids(*PROMPTS, "")
    full, _ = model(rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, mask = model(rows)
    assert torch.isfinite(half).all()
    assert (half[mask] - full[mask]).abs().max() < 0.1
    half.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, "ScratchConfig.layers is 0: give a whole number, 1 or more"),
        ({"length": True}, "ScratchConfig.length is True: give a whole number"),
        ({"words": 2.0}, "ScratchConfig.words is 2.0: give a whole number"),
        ({"width": 18}, "ScratchConfig.width is 18: give a multiple of heads = 4"),
    ],
)
def test_an_impossible_encoder_is_said(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **changes)


def test_other_shapes_are_said() -> None:
    with pytest.raises(ValueError, match=r"ids have shape \(2, 9\): give \(batch, 8\)"):
        encoder()(torch.zeros(2, 9))
    with pytest.raises(ValueError, match=r"contexts have shape .* give \(batch, 3, 4\)"):
        FrozenText(torch.ones(3, 4))(torch.zeros(2, 4, 4), torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"empty has shape \(3,\): give \(length, width\)"):
        FrozenText(torch.ones(3))


def test_a_frozen_condition_that_is_not_given_is_the_empty_prompt(tmp_path: Path) -> None:
    empty, rows = torch.randn(3, 4), torch.randn(5, 3, 4)
    rows[2, 1:] = 0
    given_ = torch.tensor([True, False, True, True, True])
    frozen = FrozenText(empty)
    assert not list(frozen.parameters())
    context, mask = frozen(rows, given_)
    assert torch.equal(context[1], empty)
    assert torch.equal(context[[0, 2, 3, 4]], rows[[0, 2, 3, 4]])
    assert mask.shape == (5, 3)
    assert mask.dtype == torch.bool
    assert mask.all()
    assert torch.equal(frozen(rows, torch.zeros_like(given_))[0], empty.expand(5, 3, 4))
    assert frozen(rows.half(), given_)[0].dtype == torch.float32  # as they are stored
    save_weights(frozen.state_dict(), tmp_path / "text.safetensors")
    loaded = FrozenText(torch.zeros(3, 4))
    load_weights(loaded, tmp_path / "text.safetensors")
    assert torch.equal(loaded(rows, given_)[0], context)
    empty += 1  # what was given is not what is kept
    assert torch.equal(frozen(rows, given_)[0], context)
    assert frozen.bfloat16()(rows, given_)[0].dtype == torch.bfloat16


def pooling(width: int = 24) -> PooledText:
    torch.manual_seed(0)
    return PooledText(16, width=width)


def test_a_pooled_prompt_is_of_the_mean_of_what_counts() -> None:
    model = pooling()
    context, mask = encoder()(ids("a red cube", "", "red " * 8))
    found = model(context, mask)
    assert found.shape == (3, 24)
    means = torch.stack(
        [row[:count].mean(0) for row, count in zip(context, (4, 1, 9), strict=True)]
    )
    expected = model.linear_2(torch.nn.functional.silu(model.linear_1(means)))
    assert torch.allclose(found, expected, atol=1e-6)
    other = torch.where(mask[:, :, None], context, 100.0)
    assert torch.equal(model(other, mask), found)
    assert not torch.allclose(model(other, torch.ones_like(mask)), found, atol=0.1)


def test_the_gradient_of_a_pooled_prompt_reaches_what_counts_and_nothing_else() -> None:
    model = pooling()
    context = torch.randn(2, 3, 16, requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, True, False]])
    vectors = model(context, mask)
    gradient, *of_weights = torch.autograd.grad(
        vectors.square().sum(), [context, *model.parameters()]
    )
    assert (gradient[~mask] == 0).all()
    assert (gradient[mask] != 0).any(dim=1).all()
    assert torch.equal(gradient[0, 0], gradient[0, 2])  # of a mean
    assert all(weight.any() for weight in of_weights)


def test_pooled_prompts_are_not_drowned_at_the_start() -> None:
    model, mask = pooling(64), torch.ones(50, 4, dtype=torch.bool)
    context = torch.randn(50, 4, 16)
    ours = model(context, mask).std(0).mean()
    model.linear_2.reset_parameters()  # as the library begins
    assert ours > 1.5 * model(context, mask).std(0).mean()


def test_pooling_in_bfloat16_is_close() -> None:
    model = pooling()
    context, mask = encoder()(ids(*PROMPTS, ""))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(context, mask)
    assert (half - model(context, mask)).abs().max() < 0.05


def test_impossible_pooling_is_said() -> None:
    with pytest.raises(ValueError, match="PooledText's context is 0: give 1 or more"):
        PooledText(0, width=8)
    with pytest.raises(ValueError, match="PooledText's width is -1: give 1 or more"):
        PooledText(8, width=-1)
