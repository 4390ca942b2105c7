import torch.nn.functional as F
from torch import Tensor

from simmim_mm.models.losses.base import PixelLoss, full_precision
from simmim_mm.registry import MODELS


@MODELS.register_module()
class PixelCrossEntropy(PixelLoss):
    """Cross-entropy on pixels in [0, 1], each channel taken as the probability of being bright.

    With t the target and z the prediction, a logit::

        -t log sigmoid(z) - (1 - t) log(1 - sigmoid(z))

    Its minimum is not zero but the entropy of t. Needs a target in [0, 1]: ``UnitRange``.
    """

    target_value_range = 'unit'

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        pred, target = full_precision(pred), full_precision(target)
        return F.binary_cross_entropy_with_logits(pred, target, reduction='none')

    def decode(self, pred: Tensor) -> Tensor:
        """Brightness in (0, 1)."""
        return pred.sigmoid()
