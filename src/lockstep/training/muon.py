"""Muon: momentum whose matrices are made orthogonal before each step (Jordan et al. 2024)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

# Of Jordan's quintic iteration: it grows small singular values fast and leaves all of them between
# 0.7 and 1.2 (kellerjordan.github.io/posts/muon), as torch.optim.Muon has it.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """The step of `torch.optim.Muon`, for the kernels of convolutions too.

    A kernel (out, in, h, w) is the matrix (out, in * h * w). Unlike torch's, matrices of one shape
    are multiplied together, and in `dtype`: bfloat16, which torch's always takes, needs 4.5 times
    as long as float32 on a processor that has no instructions for it (AVX2).

    Parameters
    ----------
    params
        Parameters of two or more dimensions.
    lr
        Of a square matrix; one with more rows than columns gets sqrt(rows / columns) times it.
    momentum
        How much of the momentum stays at each step, in [0, 1); Nesterov's.
    weight_decay
        Times `lr`, what each step takes off the weights.
    dtype
        Of the iteration.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step along the gradients, which stay as they are; `closure` is not called."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    average = self.state[parameter]["momentum_buffer"]
                    average.lerp_(parameter.grad, 1 - group["momentum"])
                    ahead = parameter.grad.lerp(average, group["momentum"])
                    alike[parameter.shape].append((parameter, ahead))
            for shape, pairs in alike.items():
                matrices = torch.stack([ahead.flatten(1) for _, ahead in pairs])
                rows, columns = matrices.shape[1:]
                rate = group["lr"] * math.sqrt(max(1, rows / columns))
                updates = orthogonalize(matrices.to(self.dtype)).to(matrices.dtype)
                for (parameter, _), update in zip(pairs, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update.view(shape), alpha=-rate)


def orthogonalize(matrices: Tensor) -> Tensor:
    """U V^T, nearly, of each U S V^T of a batch (N, rows, columns).

    By five steps X <- a X + (b G + c G^2) X, G = X X^T, from X / |X|; the singular values end in
    about [0.7, 1.2], which serves as well as 1 and costs no decomposition.

    The steps P = a + b G + c G^2 commute with G, so that those of wide float32 matrices are
    multiplied first, by G <- P G P: small square products instead of wide ones. In bfloat16 the
    rounding of G's eigenvalues below 0 would grow at each step.
    """
    rows, columns = matrices.shape[1:]
    x = matrices.mT if rows > columns else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    if x.dtype == torch.bfloat16 or x.shape[2] < 2 * x.shape[1]:
        for _ in range(_ITERATIONS):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    else:
        gram = x @ x.mT
        identity = torch.eye(gram.shape[1], dtype=x.dtype, device=x.device)
        product = identity.expand_as(gram)
        for _ in range(_ITERATIONS):
            step = torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C).add_(identity, alpha=_A)
            product = step @ product
            gram = step @ gram @ step
        x = product @ x
    return x.mT if rows > columns else x


def matrices_of(model: nn.Module) -> list[Tensor]:
    """Weights of the linear layers and convolutions, but the images' first and last convolution.

    Embeddings of labels and words, norms and biases are no matrices in Muon's sense, and the first
    and the last layer are left to AdamW, as its author does.
    """
    return [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
        and name.rsplit(".")[-1] not in ("conv_in", "conv_out")
    ]
