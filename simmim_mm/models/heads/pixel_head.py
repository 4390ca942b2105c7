from mmengine.model import BaseModule
from torch import Tensor

from simmim_mm.masking import upsample_mask
from simmim_mm.registry import MODELS


@MODELS.register_module()
class PixelHead(BaseModule):
    """Scores predicted pixels against the target.

    Args:
        loss: Config of the loss, called as ``loss(pred, target, weight)``.
        masked_only: Score the masked pixels only (SimMIM table 4: 82.8 against 81.7 for the whole
            image).
    """

    def __init__(
        self,
        loss: dict = dict(type='MaskedPixelLoss', criterion='l1'),
        masked_only: bool = True,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        self.loss_fn = MODELS.build(loss)
        self.masked_only = masked_only

    def loss(self, pred: Tensor, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Loss of a prediction.

        Args:
            pred: ``(B, C, H, W)``.
            target: ``(B, C, H, W)``.
            mask: ``(B, h, w)`` boolean, True = masked; H and W are multiples of h and w.

        Returns:
            ``dict(loss=scalar)``.
        """
        weight = upsample_mask(mask, pred.shape[-2:]) if self.masked_only else None
        return dict(loss=self.loss_fn(pred, target, weight))
