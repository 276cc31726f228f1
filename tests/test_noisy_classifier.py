"""Guidance by a classifier of noisy images: the rule, the network, its training, and its use."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import tiny_models
from lockstep.config.schema import Params
from lockstep.core.device import make_deterministic
from lockstep.core.errors import LockstepError
from lockstep.data.dataset import Dataset
from lockstep.diffusion import (
    ClassifierGuidance,
    Denoiser,
    Guidance,
    NoiseSchedule,
    ddim,
    dpmpp_2m,
    timesteps,
)
from lockstep.evaluation.noisy_classifier import quality
from lockstep.models import generator, noisy_classifier
from lockstep.models.conditions import Conditions
from lockstep.models.noisy_classifier import (
    Config,
    LabelClassifier,
    PromptClassifier,
    counts,
    untrained,
)
from lockstep.models.text import Tokenizer, tokenizer
from lockstep.sampling.sample import load, sample
from lockstep.training.noisy_classifier import make
from tiny import tiny_dataset, tiny_params


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two would wait for each other beside other processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SCHEDULE = NoiseSchedule("squaredcos_cap_v2", 100)
PLACE, SPREAD = 0.7, 0.3  # of two classes of pixels, N(+PLACE, SPREAD²) and N(-PLACE, SPREAD²)


def posterior(x: Tensor, t: int, place: float) -> Tensor:
    """E[x0 | x_t] of pixels from N(place, SPREAD²)."""
    alpha_bar = float(SCHEDULE.alphas_bar[t])
    variance = alpha_bar * SPREAD**2 + 1 - alpha_bar
    return place + math.sqrt(alpha_bar) * SPREAD**2 / variance * (x - math.sqrt(alpha_bar) * place)


def odds(x: Tensor, t: int) -> Tensor:
    """log p(+ | x_t) - log p(- | x_t), pixel by pixel."""
    alpha_bar = float(SCHEDULE.alphas_bar[t])
    variance = alpha_bar * SPREAD**2 + 1 - alpha_bar
    return 2 * math.sqrt(alpha_bar) * PLACE / variance * x


def either(x: Tensor, levels: Tensor) -> Tensor:
    """E[x0 | x_t] of pixels that are as often of one class as of the other."""
    t = int(levels[0])
    share = torch.sigmoid(odds(x, t))
    return share * posterior(x, t, PLACE) + (1 - share) * posterior(x, t, -PLACE)


def likelihood(x: Tensor, levels: Tensor) -> Tensor:
    """log p(+ | x_t) of each pixel, added up."""
    return F.logsigmoid(odds(x, int(levels[0]))).sum((1, 2, 3))


UNGUIDED = Denoiser(either, SCHEDULE, "x0")


@pytest.mark.parametrize("t", [0, 10, 50, 90, 95])
def test_a_scale_of_1_is_the_rule_of_bayes(t: int) -> None:
    """Where classes and noise are normal, all three sides of it are known."""
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    guided = ClassifierGuidance(UNGUIDED, likelihood, 1.0)(x, t)
    alpha_bar = float(SCHEDULE.alphas_bar[t])
    expected = posterior(x, t, PLACE)
    torch.testing.assert_close(guided.x0, expected, atol=1e-8, rtol=1e-8)
    noise = (x - math.sqrt(alpha_bar) * expected) / math.sqrt(1 - alpha_bar)
    torch.testing.assert_close(guided.epsilon, noise, atol=1e-8, rtol=1e-8)


def test_samples_are_of_the_class() -> None:
    x = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels = timesteps(100, 50, "trailing")
    free = dpmpp_2m(UNGUIDED, x, SCHEDULE, levels)
    led = dpmpp_2m(ClassifierGuidance(UNGUIDED, likelihood, 1.0), x, SCHEDULE, levels)
    assert abs(free.mean()) < 0.1 and (free > 0).double().mean() < 0.6
    assert abs(led.mean() - PLACE) < 0.03 and (led > 0).double().mean() > 0.97
    assert not led.requires_grad


def test_it_stands_on_top_of_other_guidance() -> None:
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    other = Guidance(UNGUIDED, Denoiser(lambda x, _: x, SCHEDULE, "x0"), 3.0)
    led = ClassifierGuidance(other, likelihood, 2.0)(x, 40)
    moved = ClassifierGuidance(UNGUIDED, likelihood, 2.0)(x, 40).x0 - UNGUIDED(x, 40).x0
    torch.testing.assert_close(led.x0, other(x, 40).x0 + moved)


def test_nothing_leads_where_nothing_is_seen_or_asked() -> None:
    def never(x: Tensor, t: Tensor) -> Tensor:
        raise AssertionError("asked")

    x = torch.randn(1, 3, 4, 4)
    assert torch.equal(ClassifierGuidance(UNGUIDED, never, 0.0)(x, 40).x0, UNGUIDED(x, 40).x0)
    assert float(SCHEDULE.alphas_bar[99]) < 1e-5
    assert torch.equal(ClassifierGuidance(UNGUIDED, never, 1.0)(x, 99).x0, UNGUIDED(x, 99).x0)
    straight = NoiseSchedule("straight", 10)  # which ends in nothing but noise
    last = Denoiser(lambda x, _: x, straight, "x0")
    assert torch.equal(ClassifierGuidance(last, never, 1.0)(x, 9).x0, last(x, 9).x0)


@pytest.mark.parametrize("scale", [-1.0, math.inf, math.nan])
def test_a_scale_out_of_range(scale: float) -> None:
    with pytest.raises(ValueError, match=r"scale: \S+ is out of range; use 0 for no guidance"):
        ClassifierGuidance(UNGUIDED, likelihood, scale)


def classifier(shape: tuple[int, int, int] = (3, 16, 16)) -> LabelClassifier:
    """Of three labels."""
    torch.manual_seed(0)
    made = LabelClassifier(Config(3, None, None, shape, 4, SCHEDULE))
    tiny_models.nothing_zero(made)
    return made.eval()


def reader(
    words: int = 6, length: int = 5, shape: tuple[int, int, int] = (3, 16, 16)
) -> PromptClassifier:
    """Of prompts."""
    torch.manual_seed(0)
    made = PromptClassifier(Config(words, length, "0" * 64, shape, 4, SCHEDULE))
    tiny_models.nothing_zero(made)
    return made.eval()


@pytest.mark.parametrize("shape", [(3, 64, 64), (4, 8, 8), (1, 2, 6), (3, 1, 1)])
def test_images_of_any_size_and_each_by_itself(shape: tuple[int, int, int]) -> None:
    made = classifier(shape)
    x, t = torch.randn(5, *shape), torch.tensor([0, 30, 50, 70, 99])
    logits = made(x, t)
    assert logits.shape == (5, 3)
    torch.testing.assert_close(made(x[2:3], t[2:3]), logits[2:3], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(made(x, t.flip(0)), logits, atol=1e-3)  # it is told the level


def test_the_likelihood_is_that_of_just_these_labels() -> None:
    made, x, t = classifier(), torch.randn(2, 3, 16, 16), torch.tensor([10, 60])
    labels = torch.tensor([[1, 0, 1], [0, 0, 0]]).float()
    says = made(x, t).sigmoid().double()
    expected = torch.where(labels.bool(), says, 1 - says).log().sum(1)
    found = made.log_likelihood(x, t, labels).double()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_it_is_kept_in_a_folder(tmp_path: Path) -> None:
    made, x, t = classifier(), torch.randn(2, 3, 16, 16), torch.tensor([10, 60])
    noisy_classifier.save(made, tmp_path)
    again = noisy_classifier.load(tmp_path)
    assert again is not None and again.config == made.config and not again.training
    assert torch.equal(again(x, t), made(x, t))
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_none_is_kept_as_that(tmp_path: Path) -> None:
    noisy_classifier.save(None, tmp_path)
    assert noisy_classifier.load(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["noisy_classifier.json"]


def test_damage_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        LockstepError, match=r"noisy_classifier\.json: missing; `dvc repro` makes it"
    ):
        noisy_classifier.load(tmp_path)
    noisy_classifier.save(classifier(), tmp_path)
    path = tmp_path / noisy_classifier.DESCRIPTION
    about = json.loads(path.read_text())
    path.write_text(json.dumps({"config": {**about["config"], "width": 0}}))
    with pytest.raises(LockstepError, match=r"noisy_classifier\.json: .*width.*`dvc checkout`"):
        noisy_classifier.load(tmp_path)
    path.write_text(json.dumps({"config": {**about["config"], "width": 8}}))
    with pytest.raises(LockstepError, match=r"noisy_classifier\.safetensors: not this model's"):
        noisy_classifier.load(tmp_path)


NEAR = {"atol": 1e-4, "rtol": 1e-4}
# Of the words 2 to 5; 1 is unknown, 0 padding.
ROWS = torch.tensor([[2, 3, 1, 4, 0], [3, 2, 3, 0, 0], [4, 4, 5, 4, 4], [0, 0, 0, 0, 0]])


def image(count: int = 4) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 3, 16, 16), torch.arange(count) * 20


def test_a_prompt_is_its_known_words_and_its_end() -> None:
    made, (x, t) = reader(), image()
    logits = made(x, t, ROWS)
    assert logits.shape == (4, 5, 6)
    says = logits.log_softmax(2)
    expected = [
        sum(says[0, place, word] for place, word in enumerate([2, 3, 1, 4, 0]) if word != 1),
        sum(says[1, place, word] for place, word in enumerate([3, 2, 3, 0])),
        sum(says[2, place, word] for place, word in enumerate([4, 4, 5, 4, 4])),
        says[3, 0, 0],
    ]
    found = made.log_likelihood(x, t, ROWS)
    torch.testing.assert_close(
        found, torch.stack([torch.as_tensor(each) for each in expected]), **NEAR
    )
    assert made.has_known(ROWS).tolist() == [True, True, True, False]
    assert not made.has_known(torch.tensor([[1, 1, 0, 0, 0]])).any()


@given(st.lists(st.integers(2, 5), max_size=6), st.data())
def test_what_counts_of_a_row(words: list[int], data: st.DataObject) -> None:
    unknown = data.draw(st.lists(st.integers(0, 6), max_size=3))
    row = [1 if place in unknown else word for place, word in enumerate(words)]
    found = counts(torch.tensor([[*row, *[0] * (6 - len(row))]]))[0].tolist()
    assert found == [
        *(word != 1 for word in row),
        *(place == len(row) for place in range(len(row), 6)),
    ]


def test_all_prompts_together_are_certain() -> None:
    """Probabilities of all rows that can be, with no word unknown, add up to 1."""
    made = reader(words=4, length=3)
    with torch.no_grad():
        made.head.bias[1] = -1e4
    rows = [
        [*said, *[0] * (3 - len(said))]
        for length in range(4)
        for said in itertools.product((2, 3), repeat=length)
    ]
    x, t = (part.expand(len(rows), *part.shape[1:]) for part in image(1))
    total = made.log_likelihood(x, t, torch.tensor(rows)).double().exp().sum()
    assert abs(total - 1) < 1e-5


def test_a_word_knows_the_image_and_the_words_before_alone() -> None:
    made, (x, t) = reader(), image()
    logits = made(x, t, ROWS)
    changed = ROWS.clone()
    changed[:, 2] = 5
    other = made(x, t, changed)
    torch.testing.assert_close(other[:, :3], logits[:, :3], **NEAR)
    assert not torch.allclose(other[:2, 3:], logits[:2, 3:], atol=1e-3)
    assert not torch.allclose(made(x.flip(0), t, ROWS)[:, 0], logits[:, 0], atol=1e-3)
    assert not torch.allclose(made(x, t.flip(0), ROWS)[:, 0], logits[:, 0], atol=1e-3)
    torch.testing.assert_close(made(x[1:2], t[1:2], ROWS[1:2]), logits[1:2], **NEAR)


def test_where_something_is_matters_to_words(monkeypatch: pytest.MonkeyPatch) -> None:
    made, (x, t) = reader(shape=(3, 64, 64)), image(1)
    maps = [torch.randn(1, 4 * 2**stage, 16 // 2**stage, 16 // 2**stage) for stage in range(4)]

    def logits() -> Tensor:
        monkeypatch.setattr(made, "features", lambda x, t: maps)
        before = made(x, t, ROWS[:1])
        monkeypatch.setattr(made, "features", lambda x, t: [each.flip(3) for each in maps])
        return made(x, t, ROWS[:1]) - before

    assert logits().abs().max() > 1e-3
    for positions in made.image_positions:
        torch.nn.init.zeros_(positions)
    assert logits().abs().max() < 1e-5  # of a set of vectors without an order


@pytest.mark.parametrize("shape", [(3, 64, 64), (4, 8, 8), (1, 2, 6), (3, 1, 1), (3, 40, 24)])
def test_prompts_of_images_of_any_size(shape: tuple[int, int, int]) -> None:
    made = reader(shape=shape)
    x = torch.randn(4, *shape)
    assert made(x, torch.tensor([0, 30, 60, 99]), ROWS).shape == (4, 5, 6)


def test_prompts_have_a_length() -> None:
    config = Config(6, None, None, (3, 16, 16), 4, SCHEDULE)
    with pytest.raises(ValueError, match="length: None is for labels"):
        PromptClassifier(config)
    assert isinstance(untrained(config), LabelClassifier)
    assert isinstance(untrained(dataclasses.replace(config, length=5)), PromptClassifier)


def test_one_for_prompts_is_kept_in_a_folder(tmp_path: Path) -> None:
    made, (x, t) = reader(), image()
    noisy_classifier.save(made, tmp_path)
    again = noisy_classifier.load(tmp_path)
    assert isinstance(again, PromptClassifier) and again.config == made.config
    assert torch.equal(again(x, t, ROWS), made(x, t, ROWS))


def params(**changes: Any) -> Params:
    quick = {"steps": 60, "batch_size": 16, "width": 8, "precision": "fp32", "flip": True}
    made = tiny_params()
    settings = dataclasses.replace(made.noisy_classifier, **{**quick, **changes})
    return dataclasses.replace(made, noisy_classifier=settings)


def unseen(steps: Iterable[Any], count: int) -> Iterable[Any]:
    return steps


def test_it_learns_and_the_same_again(tmp_path: Path) -> None:
    make_deterministic(1)
    data = tiny_dataset(tmp_path, 120)
    made, again = (make(params(), data, unseen) for _ in range(2))
    assert made is not None and again is not None and not made.training
    assert all(torch.equal(w, again.state_dict()[n]) for n, w in made.state_dict().items())
    found = quality(made, data)
    assert list(found) == [f"noisy_classifier_accuracy_{t}" for t in (0.25, 0.5, 0.75, 0.9)]
    assert found["noisy_classifier_accuracy_0.25"] > 0.9  # chance is one third
    other = make(params(seed=1), data, unseen)
    assert isinstance(other, LabelClassifier) and isinstance(made, LabelClassifier)
    assert not torch.equal(other.head.weight, made.head.weight)


def spoken(folder: Path, count: int) -> Dataset:
    """Images of one of three colours, which their prompts name in one of two ways."""
    data = tiny_dataset(folder, count)
    said = Tokenizer(("a", "red", "green", "blue", "image"), 4)
    said.save(folder / tokenizer.FILE)
    ways = ("a {} image", "{}")
    colours = np.asarray(data.conditions).argmax(1)
    prompts = [
        ways[number % 2].format(("red", "green", "blue")[colour])
        for number, colour in enumerate(colours)
    ]
    numbers = np.arange(count)[:, None]
    return dataclasses.replace(
        data,
        rows=said.encode(prompts),
        conditions=numbers,
        encoded=folder,
        mirrorable=False,
    )


def test_it_learns_prompts_and_the_same_again(tmp_path: Path) -> None:
    make_deterministic(1)
    data = spoken(tmp_path, 120)
    made, again = (make(params(flip=False), data, unseen) for _ in range(2))
    assert isinstance(made, PromptClassifier) and again is not None and not made.training
    assert all(torch.equal(w, again.state_dict()[n]) for n, w in made.state_dict().items())
    found = quality(made, data)
    assert list(found) == [f"noisy_classifier_perplexity_{t}" for t in (0.25, 0.5, 0.75, 0.9)]
    # Which of two ways is chance, once in three words and an end; which of three colours is not.
    assert 1 < found["noisy_classifier_perplexity_0.25"] < 1.5
    x = torch.full((1, 3, 16, 16), -0.7)
    x[:, 0] = 0.7
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = untrained(made.config)
    assert not torch.equal(made.words.weight[1], fresh.words.weight[1])  # unknown words are known
    rows = torch.from_numpy(np.asarray(data.rows))
    red = made.log_likelihood(x.expand(len(rows), -1, -1, -1), torch.zeros(len(rows)).long(), rows)
    named = (rows == 3).any(1)
    assert red[named].min() > red[~named].max() + 1


def test_no_steps_make_none(tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path)
    assert make(params(steps=0), data, unseen) is None
    assert quality(None, data) == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 33}, r"noisy_classifier\.batch_size: 33 is more than the 32 images"),
        ({"flip": True}, r"noisy_classifier\.flip: latents cannot be mirrored, and the conditions"),
        ({"lr": 1e30, "muon_lr": 1e30}, r"the noisy classifier's loss is nan at step \d+; lower"),
    ],
)
def test_what_cannot_be_trained(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    data = dataclasses.replace(tiny_dataset(tmp_path), mirrorable=False)
    with pytest.raises(LockstepError, match=said):
        make(params(**{"flip": False, **changes}), data, unseen)


def test_prompts_without_a_known_word_are_one_line(tmp_path: Path) -> None:
    data = dataclasses.replace(tiny_dataset(tmp_path), rows=np.ones((3, 4), np.int64))
    Tokenizer(("red",), 4).save(tmp_path / tokenizer.FILE)
    numbers = np.zeros((len(data.images), 1), np.int64)
    data = dataclasses.replace(data, encoded=tmp_path, conditions=numbers, mirrorable=False)
    with pytest.raises(LockstepError, match=r"no training image's prompt has a known word, so"):
        make(params(flip=False), data, unseen)


def test_images_are_led_to_what_was_asked_for_alone(tmp_path: Path) -> None:
    model = tiny_models.save(tmp_path / "model", "labels")
    trained_at = params()
    levels = dataclasses.replace(trained_at.diffusion, timesteps=100)
    judge = make(
        dataclasses.replace(trained_at, diffusion=levels), tiny_dataset(tmp_path / "data"), unseen
    )
    assert judge is not None
    folder = tmp_path / "classifier"
    folder.mkdir()
    noisy_classifier.save(judge, folder)
    # Of the last two nothing is said, in either way.
    values = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.uint8)
    conditions = Conditions(values, torch.tensor([True, True, False, True]))
    settings = tiny_models.sample(classifier_scale=60.0, clip=None)
    plain = sample(load(model, "ema"), settings, conditions, seed=0)
    led = sample(load(model, "ema", classifier=folder), settings, conditions, seed=0)
    assert torch.equal(led[2:], plain[2:])
    clean = torch.zeros(4, dtype=torch.int64)
    was, became = (judge.log_likelihood(x, clean, values) for x in (plain, led))
    gained = became - was
    assert (gained[:2] > 0.1).all()


def test_a_classifier_of_something_else_is_one_line(tmp_path: Path) -> None:
    model = tiny_models.save(tmp_path / "model", "labels")
    folder = tmp_path / "classifier"
    folder.mkdir()
    noisy_classifier.save(None, folder)
    with pytest.raises(LockstepError, match=r"classifier: has no noisy classifier; set noisy_"):
        load(model, "ema", classifier=folder)
    right = Config(3, None, None, (3, 16, 16), 4, generator.describe(model).schedule)
    for wrong in ({"inputs": 4}, {"shape": (3, 8, 8)}, {"schedule": SCHEDULE}):
        changed = dataclasses.replace(right, **wrong)
        if changed == right:  # the schedule of the tiny model is this one
            changed = dataclasses.replace(right, schedule=NoiseSchedule("linear", 100))
        noisy_classifier.save(LabelClassifier(changed), folder)
        with pytest.raises(
            LockstepError, match=r"classifier: is for other labels, words, images or noise"
        ):
            load(model, "ema", classifier=folder)


def test_a_classifier_of_other_words_is_one_line(tmp_path: Path) -> None:
    """As many, but numbered in another order: it would lead to other words."""
    model = tiny_models.save(tmp_path / "model", "prompts")
    folder = tiny_models.save_classifier(tmp_path / "classifier", model)
    assert load(model, "ema", classifier=folder).classifier is not None
    (file,) = model.glob(tokenizer.FILE)
    file.write_text(file.read_text().replace('"cube"', '"x"').replace('"red"', '"cube"'))
    with pytest.raises(LockstepError, match=r"classifier: is for other labels, words, images or"):
        load(model, "ema", classifier=folder)


@pytest.mark.parametrize("inference", [False, True])
def test_images_are_led_to_prompts_alone(tmp_path: Path, inference: bool) -> None:
    model = tiny_models.save(tmp_path / "model", "prompts")
    folder = tiny_models.save_classifier(tmp_path / "classifier", model)
    judge = noisy_classifier.load(folder)
    assert judge is not None
    length = judge.config.length or 0
    with torch.inference_mode(inference):
        # Of the last three nothing is said, in three ways.
        rows = F.pad(torch.tensor([[3, 4], [4, 0], [3, 4], [0, 0], [1, 1]]), (0, length - 2))
        conditions = Conditions(rows, torch.tensor([True, True, False, True, True]))
    settings = tiny_models.sample(classifier_scale=1.0, clip=None)
    plain = sample(load(model, "ema"), settings, conditions, seed=0)
    led = sample(load(model, "ema", classifier=folder), settings, conditions, seed=0)
    assert torch.equal(led[2:], plain[2:])
    clean = torch.zeros(5, dtype=torch.int64)
    was, became = (judge.log_likelihood(x, clean, rows.clone()) for x in (plain, led))
    assert (became > was)[:2].all()


def test_in_inference_mode_too() -> None:
    made, x = classifier(), torch.randn(2, 3, 16, 16)
    denoise = Denoiser(lambda x, _: x, SCHEDULE, "x0")

    def likely(x: Tensor, t: Tensor) -> Tensor:
        return made.log_likelihood(x, t, torch.eye(3)[:2])

    guided = ClassifierGuidance(denoise, likely, 2.0)
    expected = guided(x, 50).x0
    assert not torch.equal(expected, denoise(x, 50).x0)
    with torch.inference_mode():
        torch.testing.assert_close(guided(x.clone(), 50).x0, expected)


def test_ddim_is_led_too() -> None:
    x = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    led = ddim(
        ClassifierGuidance(UNGUIDED, likelihood, 1.0), x, SCHEDULE, timesteps(100, 50, "trailing")
    )
    assert abs(led.mean() - PLACE) < 0.05
