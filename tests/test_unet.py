"""The U-Net against diffusers' UNet2DModel, and against itself where the library has no like."""

import copy
import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lockstep.unet import LabelEmbedding, UNet, UNetConfig, timestep_embedding
from lockstep.unet.blocks import PLAIN_ATTENTION_LENGTH, Attention, Resnet, attend

SMALL = UNetConfig(channels=(16, 32), attention=(False, True), norm_groups=8, attention_head_dim=8)

LAB6 = UNetConfig(
    channels=(128, 128, 256, 256, 512, 512),
    attention=(False, False, False, False, True, False),
)

DDPM_CIFAR10 = UNetConfig(
    channels=(128, 256, 256, 256),
    attention=(False, True, False, False),
    attention_head_dim=None,
    norm_eps=1e-6,
    flip_sin_to_cos=False,
    freq_shift=1,
    downsample_padding=0,
)

# (configuration, batch, height, width, whether a condition is given)
PARITY = {
    "lab6": (LAB6, 1, 64, 64, True),
    "ddpm-cifar10-32": (DDPM_CIFAR10, 1, 32, 32, False),
    "one level": (replace(SMALL, channels=(16,), attention=(True,)), 2, 6, 10, True),
    "one level, no attention": (replace(SMALL, channels=(16,), attention=(False,)), 2, 5, 7, False),
    "not square": (replace(SMALL, channels=(16, 24)), 3, 8, 20, True),
    "three levels, one layer": (
        replace(
            SMALL,
            channels=(8, 24, 16),
            attention=(True, False, True),
            layers_per_block=1,
            in_channels=1,
            out_channels=5,
        ),
        2,
        16,
        8,
        True,
    ),
    "heads of 12": (
        replace(SMALL, channels=(24, 48), attention=(True, True), attention_head_dim=12),
        2,
        8,
        8,
        False,
    ),
    "heads that do not fill the layer": (
        replace(SMALL, channels=(16, 40), attention=(True, True), attention_head_dim=12),
        2,
        8,
        8,
        True,
    ),
    "large epsilon": (replace(SMALL, norm_eps=0.1), 2, 8, 8, True),
    "heads of 1": (replace(SMALL, attention_head_dim=1), 2, 8, 8, False),
    "dropout": (replace(SMALL, dropout=0.3), 2, 8, 8, True),
    "time width": (replace(SMALL, time_embedding_dim=36), 2, 8, 8, True),
    "odd first width": (replace(SMALL, channels=(15, 30), norm_groups=5), 2, 8, 8, True),
    "padding 0": (replace(SMALL, downsample_padding=0, freq_shift=1), 2, 8, 12, True),
    "scale and shift": (replace(SMALL, scale_shift=True), 2, 8, 8, True),
}


def theirs_of(config: UNetConfig, condition: bool) -> torch.nn.Module:
    """diffusers' model of the same configuration."""
    diffusers = pytest.importorskip("diffusers")
    attended = config.attention
    return diffusers.UNet2DModel(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        block_out_channels=config.channels,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attended),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attended)),
        layers_per_block=config.layers_per_block,
        attention_head_dim=config.attention_head_dim,
        norm_num_groups=config.norm_groups,
        attn_norm_num_groups=config.norm_groups,
        norm_eps=config.norm_eps,
        dropout=config.dropout,
        flip_sin_to_cos=config.flip_sin_to_cos,
        freq_shift=config.freq_shift,
        downsample_padding=config.downsample_padding,
        time_embedding_dim=config.time_embedding_dim,
        resnet_time_scale_shift="scale_shift" if config.scale_shift else "default",
        class_embed_type="identity" if condition else None,
    )


def randomise_norms(model: torch.nn.Module) -> None:
    """Group norms start as the identity; move them, so that a misplaced one is seen."""
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)


def make(config: UNetConfig) -> UNet:
    torch.manual_seed(0)
    unet = UNet(config)
    randomise_norms(unet)
    return unet


def inputs(
    config: UNetConfig, batch: int = 2, height: int = 8, width: int = 8
) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    x = torch.randn(batch, config.in_channels, height, width)
    t = torch.randint(0, 1000, (batch,))
    return x, t, torch.randn(batch, config.embedding_dim)


def gradients(model: torch.nn.Module, output: Tensor, *leaves: Tensor) -> dict[str, Tensor]:
    """Gradients of a fixed random projection of the output, by name, those of `leaves` by place."""
    generator = torch.Generator().manual_seed(2)
    projection = torch.randn(output.shape, generator=generator)
    names, parameters = zip(*model.named_parameters(), strict=True)
    names = (*names, *(f"leaf {i}" for i in range(len(leaves))))
    grads = torch.autograd.grad(output.float(), (*parameters, *leaves), projection)
    return dict(zip(names, grads, strict=True))


def assert_same_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Each tensor to 1e-5 of its own norm.

    Some gradients are 0 but for rounding (a key's bias shifts all scores of a softmax alike), so
    1e-7 of all gradients' norm is let through as well.
    """
    assert ours.keys() == theirs.keys()
    total = torch.stack([g.norm() for g in theirs.values()]).norm()
    for name, theirs_grad in theirs.items():
        error = (ours[name] - theirs_grad).norm()
        assert error <= 1e-5 * theirs_grad.norm() + 1e-7 * total, name


@pytest.mark.parametrize("case", PARITY)
def test_parity_with_diffusers(case: str) -> None:
    config, batch, height, width, conditioned = PARITY[case]
    torch.manual_seed(0)
    theirs = theirs_of(config, conditioned).eval()
    randomise_norms(theirs)
    ours = UNet(config).eval()
    their_shapes = {name: weight.shape for name, weight in theirs.state_dict().items()}
    assert {name: weight.shape for name, weight in ours.state_dict().items()} == their_shapes
    ours.load_state_dict(theirs.state_dict(), strict=True)

    x, t, condition = inputs(config, batch, height, width)
    leaves = [x, condition] if conditioned else [x]
    for leaf in leaves:
        leaf.requires_grad_()
    our_output = ours(x, t, condition if conditioned else None)
    their_output = theirs(x, t, class_labels=condition if conditioned else None).sample
    assert our_output.shape == (batch, config.out_channels, height, width)
    assert their_output.std() > 0.1  # or the tolerance below would mean nothing
    torch.testing.assert_close(our_output, their_output, rtol=0, atol=1e-5)
    assert_same_gradients(
        gradients(ours, our_output, *leaves), gradients(theirs, their_output, *leaves)
    )


def test_dropout_stands_where_the_librarys_does() -> None:
    """Dropping every other column, in both, instead of values at random."""
    config = replace(SMALL, dropout=0.3)
    theirs, ours = theirs_of(config, False), UNet(config)
    ours.load_state_dict(theirs.state_dict())
    x, t, _ = inputs(config)
    plain = ours.eval()(x, t)

    def drop(module: torch.nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
        return args[0] * (torch.arange(args[0].shape[3]) % 2)

    for model in (theirs, ours):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout) and module.p == config.dropout:
                module.register_forward_hook(drop)
    dropped = ours(x, t)
    torch.testing.assert_close(dropped, theirs(x, t).sample, rtol=0, atol=1e-5)
    assert (dropped - plain).abs().max() > 1e-2


def test_dropout_drops_only_in_training() -> None:
    unet = make(replace(SMALL, dropout=0.3))
    x, t, _ = inputs(SMALL)
    assert (unet(x, t) - unet(x, t)).abs().max() > 1e-2
    unet.eval()
    torch.testing.assert_close(unet(x, t), unet(x, t), rtol=0, atol=0)


def test_no_condition_is_a_zero_condition() -> None:
    unet = make(SMALL)
    x, t, condition = inputs(SMALL)
    plain = unet(x, t)
    torch.testing.assert_close(unet(x, t, torch.zeros_like(condition)), plain, rtol=0, atol=0)
    assert (unet(x, t, condition) - plain).abs().max() > 1e-3


def test_each_image_has_its_own_timestep_and_condition() -> None:
    unet = make(SMALL)
    x, t, condition = inputs(SMALL, batch=3)
    together = unet(x, t, condition)
    alone = torch.cat([unet(x[i : i + 1], t[i : i + 1], condition[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert (together - unet(x, t.roll(1), condition)).abs().max() > 1e-3


def test_float_timesteps() -> None:
    unet = make(SMALL)
    x, t, _ = inputs(SMALL)
    torch.testing.assert_close(unet(x, t.float()), unet(x, t), rtol=0, atol=0)
    assert (unet(x, t + 0.5) - unet(x, t)).abs().max() > 0


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradient_checkpointing_changes_no_gradient(dropout: float) -> None:
    plain = make(replace(SMALL, dropout=dropout))
    checkpointed = UNet(replace(plain.config, gradient_checkpointing=True))
    checkpointed.load_state_dict(plain.state_dict())
    runs = [0, 0]  # of the first convolution of the middle block, plain and checkpointed
    found = []
    for which, unet in enumerate((plain, checkpointed)):

        def count(*_: Any, which: int = which) -> None:
            runs[which] += 1

        unet.get_submodule("mid_block.resnets.0.conv1").register_forward_pre_hook(count)
        x, t, condition = inputs(SMALL)
        leaves = (x.requires_grad_(), condition.requires_grad_())
        torch.manual_seed(4)
        found.append(gradients(unet, unet(x, t, condition), *leaves))
    assert runs == [1, 2]  # computed again in the backward pass
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=0, atol=0, msg=name)


def test_patch_folds_pixels_into_channels() -> None:
    config = replace(SMALL, patch=2, out_channels=5)
    unet = make(config)
    inner = make(replace(config, patch=1, in_channels=12, out_channels=20))
    inner.load_state_dict(unet.state_dict())
    x, t, condition = inputs(config, height=8, width=12)
    output = unet(x, t, condition)
    assert output.shape == (2, 5, 8, 12)
    # By hand: channel c, row i and column j of a 2 x 2 patch become channel 4 c + 2 i + j.
    offsets = list(itertools.product(range(3), range(2), range(2)))
    folded = torch.stack([x[:, c, i::2, j::2] for c, i, j in offsets], dim=1)
    inner_output = inner(folded, t, condition)
    for c, i, j in itertools.product(range(5), range(2), range(2)):
        expected = inner_output[:, 4 * c + 2 * i + j]
        torch.testing.assert_close(output[:, c, i::2, j::2], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, patch=2, scale_shift=True)])
def test_channels_last_gives_the_same(config: UNetConfig) -> None:
    unet = make(config)
    x, t, condition = inputs(config)
    expected = unet(x, t, condition)
    expected_gradients = gradients(unet, expected)
    unet = unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    output = unet(x.to(memory_format=torch.channels_last), t, condition)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    assert_same_gradients(gradients(unet, output), expected_gradients)


def test_attention_of_channels_last_copies_nothing_into_rows() -> None:
    attention = Attention(32, SMALL)
    seen = []
    attention.to_q.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.randn(2, 32, 4, 4).to(memory_format=torch.channels_last)
    output = attention(x)
    assert seen[0].shape == (2, 16, 32)
    assert seen[0].is_contiguous()
    assert output.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_autocast_is_close(memory_format: torch.memory_format) -> None:
    unet = make(SMALL)
    x, t, condition = inputs(SMALL)
    expected = unet(x, t, condition)
    expected_gradients = gradients(unet, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = unet(x.to(memory_format=memory_format), t, condition)
    assert output.dtype == torch.bfloat16
    assert (output - expected).norm() < 0.02 * expected.norm()  # bfloat16 has 8 bits: 0.004
    found = gradients(unet, output)
    flat, expected_flat = (
        torch.cat([g.flatten() for g in grads.values()]) for grads in (found, expected_gradients)
    )
    assert (flat - expected_flat).norm() < 0.05 * expected_flat.norm()


def test_weights_in_bfloat16() -> None:
    unet = make(SMALL)
    x, t, condition = inputs(SMALL)
    expected = unet(x, t, condition)
    output = copy.deepcopy(unet).bfloat16()(x.bfloat16(), t, condition)
    assert output.dtype == torch.bfloat16
    assert (output - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize("length", [5, PLAIN_ATTENTION_LENGTH, PLAIN_ATTENTION_LENGTH + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attend_is_its_equation(length: int, dtype: torch.dtype) -> None:
    """Either side of the length, and of the type, at which the way of computing it changes."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, length, 8).to(dtype) for _ in range(3))
    scores = torch.einsum("bhqd,bhkd->bhqk", q.double(), k.double()) / 8**0.5
    expected = torch.einsum("bhqk,bhkd->bhqd", torch.softmax(scores, dim=-1), v.double())
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(attend(q, k, v).double(), expected, rtol=0, atol=tolerance)


def test_scale_shift_follows_its_equation() -> None:
    config = replace(SMALL, scale_shift=True)
    torch.manual_seed(0)
    resnet = Resnet(32, 32, config)
    randomise_norms(resnet)
    x, emb = torch.randn(2, 32, 4, 4), torch.randn(2, config.embedding_dim)
    with torch.no_grad():  # a projection that says: scale by 1 + 0.5, shift by 2
        resnet.time_emb_proj.weight.zero_()
        resnet.time_emb_proj.bias.copy_(torch.tensor([0.5] * 32 + [2.0] * 32))
    normalised = resnet.norm2(resnet.conv1(F.silu(resnet.norm1(x))))
    expected = x + resnet.conv2(F.silu(1.5 * normalised + 2))
    torch.testing.assert_close(resnet(x, emb), expected, rtol=0, atol=1e-6)


def test_scale_shift_answers_to_the_condition() -> None:
    unet = make(replace(SMALL, scale_shift=True))
    x, t, condition = inputs(SMALL)
    assert (unet(x, t, condition) - unet(x, t, -condition)).abs().max() > 1e-3


def test_timestep_embedding_is_its_equation() -> None:
    t = torch.tensor([0.0, 1.0, 999.0])
    embedding = timestep_embedding(t, 6, flip_sin_to_cos=False, freq_shift=0)
    angles = t.double()[:, None] * torch.tensor([1, 10000 ** (-1 / 3), 10000 ** (-2 / 3)])
    expected = torch.cat([angles.sin(), angles.cos()], dim=1).float()
    torch.testing.assert_close(embedding, expected, rtol=0, atol=1e-4)
    flipped = timestep_embedding(t, 6, flip_sin_to_cos=True, freq_shift=0)
    torch.testing.assert_close(flipped, embedding.roll(3, dims=1), rtol=0, atol=0)
    odd = timestep_embedding(t, 7, flip_sin_to_cos=False, freq_shift=0)
    torch.testing.assert_close(odd, F.pad(embedding, (0, 1)), rtol=0, atol=0)
    shifted = timestep_embedding(t, 6, flip_sin_to_cos=False, freq_shift=1)
    torch.testing.assert_close(shifted[:, 2], (t / 10000).sin())  # the lowest frequency


def test_timestep_embedding_is_float32_under_autocast() -> None:
    t = torch.arange(990, 1000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding = timestep_embedding(t, 16, flip_sin_to_cos=True, freq_shift=0)
    assert embedding.dtype == torch.float32
    expected = timestep_embedding(t, 16, flip_sin_to_cos=True, freq_shift=0)
    torch.testing.assert_close(embedding, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"channels": ()}, "channels"),
        ({"channels": (16, 36)}, "channels"),
        ({"channels": (16, -8)}, "channels"),
        ({"channels": (16, 32.0)}, "channels"),
        ({"attention": (True,)}, "attention"),
        ({"attention": (0, 1)}, "attention"),
        ({"in_channels": 0}, "in_channels"),
        ({"out_channels": -1}, "out_channels"),
        ({"layers_per_block": 0}, "layers_per_block"),
        ({"attention_head_dim": 0}, "attention_head_dim"),
        ({"attention_head_dim": 33}, "attention_head_dim"),
        ({"attention_head_dim": 17, "attention": (True, True)}, "attention_head_dim"),
        ({"norm_groups": 0}, "norm_groups"),
        ({"norm_eps": 0.0}, "norm_eps"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"downsample_padding": 2}, "downsample_padding"),
        ({"freq_shift": 8}, "freq_shift"),
        ({"time_embedding_dim": 0}, "time_embedding_dim"),
        ({"patch": 0}, "patch"),
        ({"patch": True}, "patch"),
    ],
)
def test_impossible_configurations_say_so(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError) as raised:
        replace(SMALL, **changes)
    message = str(raised.value)
    assert message.startswith(f"UNetConfig.{field} is {changes[field]!r}: give ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("x", "t", "condition", "message"),
    [
        ((2, 3, 8, 10), (2,), None, r"x is 8 x 10 pixels: give multiples of 4 "),
        ((2, 3, 6, 8), (2,), None, r"x is 6 x 8 pixels: give multiples of 4 "),
        ((2, 1, 8, 8), (2,), None, r"x has shape \(2, 1, 8, 8\): give \(batch, 3, "),
        ((3, 8, 8), (2,), None, r"x has shape \(3, 8, 8\): give "),
        ((2, 3, 8, 8), (1,), None, r"t has shape \(1,\): give .*\(2,\)"),
        ((2, 3, 8, 8), (), None, r"t has shape \(\): give "),
        ((2, 3, 8, 8), (2,), (2, 63), r"condition has shape \(2, 63\): give \(2, 64\)"),
        ((2, 3, 8, 8), (2,), (1, 64), r"condition has shape \(1, 64\): give \(2, 64\)"),
    ],
)
def test_unfitting_inputs_say_so(
    x: tuple[int, ...], t: tuple[int, ...], condition: tuple[int, ...] | None, message: str
) -> None:
    unet = UNet(replace(SMALL, patch=2))
    with pytest.raises(ValueError, match=message) as raised:
        unet(torch.zeros(x), torch.zeros(t), None if condition is None else torch.zeros(condition))
    assert "\n" not in str(raised.value)


def test_label_embedding_of_no_labels_is_learned() -> None:
    torch.manual_seed(0)
    embed = LabelEmbedding(width=64)
    nothing = torch.zeros(2, 24)
    embedded = embed(nothing)
    assert embedded.shape == (2, 64)
    expected = embed.linear_2(F.silu(embed.linear_1.bias))
    torch.testing.assert_close(embedded, expected.expand(2, 64))
    assert embedded.abs().max() > 0.01  # the zero is in the labels, not in the embedding
    (gradient,) = torch.autograd.grad(embedded.sum(), embed.linear_1.bias)
    assert gradient.abs().max() > 0


def test_label_embedding_tells_sets_of_labels_apart() -> None:
    torch.manual_seed(0)
    embed = LabelEmbedding(labels=3, width=8)
    sets = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)))
    distances = torch.cdist(embed(sets), embed(sets)) + torch.eye(8)
    assert distances.min() > 1e-2


def test_label_embedding_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"labels have shape \(2, 3\): give \(batch, 24\)"):
        LabelEmbedding(width=8)(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="labels is 0: give 1 or more"):
        LabelEmbedding(labels=0, width=8)
    with pytest.raises(ValueError, match="width is -1: give 1 or more"):
        LabelEmbedding(width=-1)


def test_label_embedding_conditions_the_unet() -> None:
    unet = make(SMALL)
    embed = LabelEmbedding(labels=4, width=SMALL.embedding_dim)
    x, t, _ = inputs(SMALL)
    with_label = unet(x, t, embed(torch.tensor([[0.0, 1, 0, 0], [1, 0, 0, 1]])))
    without = unet(x, t, embed(torch.zeros(2, 4)))
    assert (with_label - without).flatten(1).abs().amax(dim=1).min() > 1e-4
