"""The U-Nets of denoising diffusion models."""

import torch
from torch import Tensor

from lockstep.config.networks import CrossAttentionUNetConfig, UNetConfig
from lockstep.models.unet.backbone import Backbone
from lockstep.models.unet.blocks import Attention
from lockstep.models.unet.transformer import Transformer


class UNet(Backbone):
    """Predicts, from a noisy image and its timestep, an image: the noise, or what it is trained on.

    The network of Ho et al. 2020 (arXiv:2006.11239, appendix B).

    Same function as `UNet2DModel` of diffusers: with the same configuration and weights, outputs
    and gradients are the same to within rounding. The submodules carry the names the library gives
    them, so its state dict loads by name, `unet.load_state_dict(theirs.state_dict())`, strict, and
    the other way round. A condition is what the library takes as `class_labels` of a model with
    `class_embed_type="identity"`. The library drops the middle attention's normalisation under
    `scale_shift` unless told `attn_norm_num_groups=norm_groups`; this one keeps it. With
    `placement_heads` it has layers that the library does not have.
    """

    config: UNetConfig

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(
            config,
            config.attention,
            lambda channels: Attention(channels, config),
            config.embedding_dim,
        )

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        condition: Tensor | None = None,
        context: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """One prediction an image.

        Parameters
        ----------
        x
            Noisy images, (B, in_channels, H, W), H and W multiples of `config.size_multiple`.
        t
            Timestep of each image, (B,), int or float.
        condition
            Added to the time embedding, (B, `config.embedding_dim`); None adds nothing.
        context, mask
            The tokens that get places in each image, (B, L, `config.embedding_dim`), and which of
            them count, (B, L) booleans, by default all. For a network with `placement_heads` only.

        Returns
        -------
        (B, out_channels, H, W)

        Raises
        ------
        ValueError
            One line, if a shape does not fit, or `placement_heads` and `context` do not.
        """
        self.check_shapes(x, t, condition)
        if (context is None) == bool(self.config.placement_heads):
            raise ValueError(
                f"context is {'None' if context is None else 'given'}: give one exactly where "
                f"placement_heads is above 0; it is {self.config.placement_heads}"
            )
        if context is None:
            return self.predict(x, t, condition, None)
        check_context(context, mask, len(x), self.config.embedding_dim)
        return self.predict(x, t, condition, with_mask(context, mask, self.conv_in.weight.dtype))


class CrossAttentionUNet(Backbone):
    """Predicts, from a noisy image, its timestep and a context, an image, as `UNet` does.

    The network of Rombach et al. 2022 (arXiv:2112.10752, section 3.3).

    Same function as `UNet2DConditionModel` of diffusers: with the same configuration and weights
    (see `CrossAttentionUNetConfig` for the names), outputs and gradients are the same to within
    rounding, and the state dict loads by name, strict, both ways. `context` is its
    `encoder_hidden_states`, `mask` its `encoder_attention_mask`, and `condition` its `class_labels`
    where `class_embed_type="identity"`. It departs from the library in that

    - it wants a context, where the library's attends to its own pixels twice without one;
    - masked positions weigh exactly 0, where the library takes 10000 off their scores, and an image
      whose mask is False everywhere is an error, where the library lets it attend to all;
    - height and width must be multiples of `config.size_multiple`, where the library cuts what it
      upsamples to fit;
    - with `placement_heads` it has layers that the library does not have.
    """

    config: CrossAttentionUNetConfig

    def __init__(self, config: CrossAttentionUNetConfig) -> None:
        super().__init__(
            config,
            config.cross_attention,
            lambda channels: Transformer(channels, config),
            config.cross_attention_dim,
        )

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor,
        mask: Tensor | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """One prediction an image.

        Parameters
        ----------
        x
            Noisy images, (B, in_channels, H, W), H and W multiples of `config.size_multiple`.
        t
            Timestep of each image, (B,), int or float.
        context
            What each image attends to, (B, L, `config.cross_attention_dim`), L 1 or more.
        mask
            Which of its positions, (B, L), boolean, True to attend, at least one an image; None
            attends to all.
        condition
            Added to the time embedding, (B, `config.embedding_dim`); None adds nothing.

        Returns
        -------
        (B, out_channels, H, W)

        Raises
        ------
        ValueError
            One line, if a shape does not fit, or an image's mask is False everywhere. The latter is
            looked for only where `mask` is on a CPU and nothing is compiled: elsewhere the program
            would have to wait for the device, and such an image's prediction means nothing.
        """
        self.check_shapes(x, t, condition)
        check_context(context, mask, len(x), self.config.cross_attention_dim)
        if mask is not None and mask.device.type == "cpu" and not torch.compiler.is_compiling():
            empty = (~mask.any(dim=1)).nonzero().flatten().tolist()
            if empty:
                raise ValueError(
                    f"mask is False all along row {empty[0]}: give at least one position to attend"
                )
        placed = with_mask(context, mask, self.conv_in.weight.dtype)
        mask = None if mask is None else mask[:, None, None]  # alike for all heads and pixels
        return self.predict(x, t, condition, placed, placed[0], mask)


def check_context(context: Tensor, mask: Tensor | None, batch: int, width: int) -> None:
    """Raises a ValueError of one line if a shape does not fit."""
    if context.ndim != 3 or context.shape[::2] != (batch, width) or not context.shape[1]:
        raise ValueError(
            f"context has shape {tuple(context.shape)}: give ({batch}, length, {width}), "
            "a length of 1 or more"
        )
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise ValueError(f"mask is of {mask.dtype}: give booleans, True where to attend")
    if mask.shape != context.shape[:2]:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}: give {tuple(context.shape[:2])}, "
            "one entry a position of the context"
        )


def with_mask(context: Tensor, mask: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A context in a dtype, and its mask, of which None is all."""
    if mask is None:
        mask = torch.ones(context.shape[:2], dtype=torch.bool, device=context.device)
    return context.to(dtype), mask
