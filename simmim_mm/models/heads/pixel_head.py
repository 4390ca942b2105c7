from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from simmim_mm.masking import masked_fraction
from simmim_mm.models.losses import PixelLoss
from simmim_mm.registry import MODELS


@MODELS.register_module()
class PixelHead(BaseModule):
    """Scores what the decoder predicts against the target.

    Args:
        loss: Config of a :class:`PixelLoss`.
        masked_only: Score the masked pixels only (SimMIM table 4: 82.8 against 81.7 for the whole
            image). Positions of a target at lower resolution count by their masked fraction.
    """

    def __init__(
        self,
        loss: dict = dict(type='MaskedPixelLoss', criterion='l1'),
        masked_only: bool = True,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.loss_fn = MODELS.build(loss)
        self.masked_only = masked_only
        if not isinstance(self.loss_fn, PixelLoss):
            raise TypeError(
                f'the loss {type(self.loss_fn).__name__} is not a '
                'simmim_mm.models.losses.PixelLoss: derive it from that class'
            )

    def loss(
        self, pred: Tensor, target: Tensor, mask: Tensor, valid: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Loss of a prediction, ``dict(loss=scalar)``.

        Args:
            pred: ``(B, P, H, W)`` with P = ``pred_channels(C)`` of the loss.
            target: ``(B, C, H, W)``.
            mask: ``(B, h, w)`` boolean, True = masked; H and W are multiples of h and w, or their
                divisors.
            valid: ``(B, 1, H', W')`` boolean, False for pixels without data, which do not count; H'
                and W' are multiples of H and W.

        Raises:
            ValueError: If prediction and target do not belong together.
        """
        expected = (len(target), self.loss_fn.pred_channels(target.shape[1]), *target.shape[2:])
        if tuple(pred.shape) != expected:
            raise ValueError(
                f'the decoder predicts {_text(pred.shape[1:])}, but '
                f'{type(self.loss_fn).__name__} on a target of {_text(target.shape[1:])} needs '
                f'{_text(expected[1:])} (channels, height, width): leave out_channels, stride and '
                'patch_size out of the decoder (neck), or set them accordingly'
            )
        weight = masked_fraction(mask, pred.shape[-2:]) if self.masked_only else None
        if valid is not None:
            counts = F.adaptive_avg_pool2d(valid.float(), (pred.shape[-2], pred.shape[-1]))
            weight = counts if weight is None else weight * counts
        return dict(loss=self.loss_fn(pred, target, weight))

    def decode(self, pred: Tensor) -> Tensor:
        """Prediction ``(B, P, H, W)`` to values of the target, ``(B, C, H, W)``."""
        return self.loss_fn.decode(pred)


def _text(shape: Sequence[int]) -> str:
    return 'x'.join(map(str, shape))
