"""The loss of the 3D segmentation network."""

from __future__ import annotations

from monai.losses import DiceCELoss, SoftclDiceLoss
from torch import Tensor, nn


class VesselLoss(nn.Module):
    """Dice of the whole batch plus cross-entropy plus, with a weight, the soft clDice of vessel centrelines.

    Args:
        cldice_weight: weight of the soft clDice loss; with 0 it is not computed.
        cldice_iterations: number of erosions for the soft skeletons; the skeleton misses vessels whose radius is larger
            than this number of voxels.
    """

    def __init__(self, cldice_weight: float = 0.0, cldice_iterations: int = 10) -> None:
        super().__init__()
        self.cldice_weight, self.cldice_iterations = cldice_weight, cldice_iterations
        # Cross-entropy as well, because training with Dice alone can end with "all background".
        self.region = DiceCELoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)
        self.centreline = SoftclDiceLoss(iter_=cldice_iterations, sigmoid=True)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Returns the loss of logits (B, 1, X, Y, Z) against labels in {0, 1} of the same shape."""
        loss = self.region(logits, label)
        return loss + self.cldice_weight * self.centreline(logits, label) if self.cldice_weight else loss
