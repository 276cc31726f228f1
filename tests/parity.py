"""What the tests of both U-Nets compare networks by, from weights that hide nothing."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from lockstep.config.networks import BackboneConfig

Config = TypeVar("Config", bound=BackboneConfig)
Network = TypeVar("Network", bound=nn.Module)


def make(network: Callable[[Config], Network], config: Config) -> Network:
    """The same one every time, with moved normalisations."""
    torch.manual_seed(0)
    model = network(config)
    randomise_norms(model)
    return model


def images(config: BackboneConfig, batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The same images and timesteps every time; what is drawn next is always the same, too."""
    torch.manual_seed(1)
    return torch.randn(batch, config.in_channels, height, width), torch.randint(0, 1000, (batch,))


def randomise_norms(model: nn.Module) -> None:
    """Normalisations start as the identity; move them, so that a misplaced one is seen."""
    for module in model.modules():
        if isinstance(module, nn.GroupNorm | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in model.state_dict().items()}


def epsilons(model: nn.Module) -> dict[str, float]:
    """Of the normalisations: too small to be seen in what they compute."""
    return {name: m.eps for name, m in model.named_modules() if hasattr(m, "eps")}


def take_over(ours: nn.Module, theirs: nn.Module, memory_format: torch.memory_format) -> None:
    """Their weights, all of them by their names, in the memory format."""
    assert shapes(ours) == shapes(theirs)
    assert epsilons(ours) == epsilons(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    ours.to(memory_format=memory_format)  # type: ignore[call-overload]


def gradients(model: nn.Module, output: Tensor, *leaves: Tensor) -> dict[str, Tensor]:
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


def assert_same_computation(
    ours: nn.Module, our_output: Tensor, theirs: nn.Module, their_output: Tensor, *leaves: Tensor
) -> None:
    """The same output to 1e-5, and the same gradients."""
    assert their_output.std() > 0.1  # or the tolerance below would mean nothing
    torch.testing.assert_close(our_output, their_output, rtol=0, atol=1e-5)
    assert_same_gradients(
        gradients(ours, our_output, *leaves), gradients(theirs, their_output, *leaves)
    )


def assert_same_dropout(ours: nn.Module, theirs: nn.Module, *inputs: Tensor) -> None:
    """Dropping every other column, in both, instead of values at random."""
    ours.load_state_dict(theirs.state_dict())
    plain = ours.eval()(*inputs)

    def drop(module: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
        return args[0] * (torch.arange(args[0].shape[-1]) % 2)

    for model in (theirs, ours):
        for module in model.modules():
            if isinstance(module, nn.Dropout) and module.p > 0:
                module.register_forward_hook(drop)
    dropped = ours(*inputs)
    torch.testing.assert_close(dropped, theirs(*inputs).sample, rtol=0, atol=1e-5)
    assert (dropped - plain).abs().max() > 1e-2


def assert_checkpointing_changes_no_gradient(
    plain: nn.Module, checkpointed: nn.Module, part: str, *inputs: Tensor
) -> None:
    """To the bit; `part` is computed again in the backward pass."""
    checkpointed.load_state_dict(plain.state_dict())
    leaves = [leaf.requires_grad_() for leaf in inputs if leaf.is_floating_point()]
    runs = [0, 0]  # of the part, plain and checkpointed
    found = []
    for which, unet in enumerate((plain, checkpointed)):

        def count(*_: Any, which: int = which) -> None:
            runs[which] += 1

        unet.get_submodule(part).register_forward_pre_hook(count)
        torch.manual_seed(4)
        found.append(gradients(unet, unet(*inputs), *leaves))
    assert runs == [1, 2]
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=0, atol=0, msg=name)


def assert_same_in_channels_last(unet: nn.Module, x: Tensor, *others: Tensor) -> Tensor:
    """The same output and gradients; gives the output in that format."""
    expected = unet(x, *others)
    expected_gradients = gradients(unet, expected)
    unet = unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    output = unet(x.to(memory_format=torch.channels_last), *others)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    assert_same_gradients(gradients(unet, output), expected_gradients)
    return output


def assert_close_in_bfloat16_autocast(unet: nn.Module, x: Tensor, *others: Tensor) -> None:
    """Output and gradients, from `x` in its memory format."""
    expected = unet(x.contiguous(), *others)
    expected_gradients = gradients(unet, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = unet(x, *others)
    assert output.dtype == torch.bfloat16
    assert (output - expected).norm() < 0.02 * expected.norm()  # bfloat16 has 8 bits: 0.004
    found = gradients(unet, output)
    flat, expected_flat = (
        torch.cat([g.flatten() for g in grads.values()]) for grads in (found, expected_gradients)
    )
    assert (flat - expected_flat).norm() < 0.05 * expected_flat.norm()


def assert_close_with_weights_in_bfloat16(unet: nn.Module, x: Tensor, *others: Tensor) -> None:
    """Of `x` in bfloat16; timesteps and conditions stay as they are."""
    expected = unet(x, *others)
    output = copy.deepcopy(unet).bfloat16()(x.bfloat16(), *others)
    assert output.dtype == torch.bfloat16
    assert (output - expected).norm() < 0.05 * expected.norm()


def assert_impossible(config: BackboneConfig, changes: dict[str, Any], field: str) -> None:
    """One line that names the field and its value."""
    with pytest.raises(ValueError) as raised:
        replace(config, **changes)
    message = str(raised.value)
    assert message.startswith(f"{type(config).__name__}.{field} is {changes[field]!r}: give ")
    assert "\n" not in message
