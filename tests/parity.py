"""What tests compare networks by: their gradients, from weights that hide nothing."""

import torch
from torch import Tensor


def randomise_norms(model: torch.nn.Module) -> None:
    """Normalisations start as the identity; move them, so that a misplaced one is seen."""
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm | torch.nn.LayerNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)


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
