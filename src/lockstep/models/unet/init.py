"""First weights of a U-Net."""

from torch import nn

from lockstep.models.unet.backbone import Backbone
from lockstep.models.unet.blocks import Attention, Resnet
from lockstep.models.unet.placement import Placement
from lockstep.models.unet.transformer import Transformer


def zero_residuals(unet: Backbone) -> None:
    """Set to 0 the last layer of each residual branch, and the last of all.

    Each branch then begins as the identity and the network with the output 0, as in Ho et al. 2020
    and in Karras et al. 2022 (arXiv 2206.00364, appendix F.2): deep networks learn faster.
    """
    for module in unet.modules():
        match module:
            case Resnet():
                _zero(module.conv2)
            case Attention():
                _zero(module.to_out[0])
            case Placement():
                _zero(module.to_out)
            case Transformer():
                _zero(module.proj_out)
    _zero(unet.conv_out)


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
