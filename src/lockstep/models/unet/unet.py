"""The U-Net of denoising diffusion models."""

from torch import Tensor

from lockstep.config.networks import UNetConfig
from lockstep.models.unet.backbone import Backbone
from lockstep.models.unet.blocks import Attention


class UNet(Backbone):
    """Predicts, from a noisy image and its timestep, an image: the noise, or what it is trained on.

    The network of Ho et al. 2020 (arXiv:2006.11239, appendix B).

    Same function as `UNet2DModel` of diffusers: with the same configuration and weights, outputs
    and gradients are the same to within rounding. The submodules carry the names the library gives
    them, so its state dict loads by name, `unet.load_state_dict(theirs.state_dict())`, strict, and
    the other way round. A condition is what the library takes as `class_labels` of a model with
    `class_embed_type="identity"`. The library drops the middle attention's normalisation under
    `scale_shift` unless told `attn_norm_num_groups=norm_groups`; this one keeps it.
    """

    config: UNetConfig

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config, config.attention, lambda channels: Attention(channels, config))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """One prediction an image.

        Parameters
        ----------
        x
            Noisy images, (B, in_channels, H, W), H and W multiples of `config.size_multiple`.
        t
            Timestep of each image, (B,), int or float.
        condition
            Added to the time embedding, (B, `config.embedding_dim`); None adds nothing.

        Returns
        -------
        (B, out_channels, H, W)

        Raises
        ------
        ValueError
            One line, if a shape does not fit.
        """
        self.check_shapes(x, t, condition)
        return self.predict(x, t, condition)
