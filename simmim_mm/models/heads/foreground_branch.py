from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from simmim_mm.registry import MODELS


@MODELS.register_module()
class ForegroundBranch(BaseModule):
    """A second head: foreground or background, predicted from the features of the masked image.

    It teaches the encoder where the objects are, hidden ones included. With p the predicted
    probability and y the fraction of foreground at a position, sums over all positions of an image,
    masked and visible, and f the mean of y in the batch, the loss is the mean over images of::

        loss_weight * (mean(w BCE(p, y)) + dice_weight * (1 - 2 sum(p y) / (sum(p) + sum(y) + 1)))
        w = y / (2 f) + (1 - y) / (2 (1 - f))

    Foreground and background thus count equally, however small the objects are: without w, training
    stays long where everything is called background. The 1 keeps images without foreground finite.

    Args:
        neck: A decoder of one channel, called as ``neck(feats, mask)``, like the one of the
            reconstruction. Its resolution is that of the loss: every pixel, or coarser.
        loss_weight: Weight of this loss; that of the reconstruction is 1.
        dice_weight: Weight of the dice term; that of the cross-entropy is 1.
    """

    def __init__(
        self,
        neck: dict,
        loss_weight: float = 0.1,
        dice_weight: float = 1.0,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.neck = MODELS.build(neck)
        self.loss_weight, self.dice_weight = loss_weight, dice_weight
        channels = getattr(self.neck, 'out_channels', 1)
        if channels != 1:
            raise ValueError(
                'the foreground branch needs a decoder of one channel, but '
                f'{type(self.neck).__name__} has {channels}: set out_channels=1 in foreground.neck'
            )

    def forward(self, feats: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Logits ``(B, 1, h, w)``; positive = foreground."""
        return self.neck(feats, mask).float()

    def loss(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Weighted loss of ``logits``, given the maps ``labels`` ``(B, 1, H, W)`` of 0 and 1."""
        y = F.adaptive_avg_pool2d(labels, (logits.shape[-2], logits.shape[-1]))
        p = logits.sigmoid()
        sums = (1, 2, 3)
        dice = 1 - 2 * (p * y).sum(sums) / (p.sum(sums) + y.sum(sums) + 1)
        f = y.mean().clamp(0.01, 0.99)  # a batch may hold no foreground, or nothing else
        weight = y / (2 * f) + (1 - y) / (2 * (1 - f))
        bce = F.binary_cross_entropy_with_logits(logits, y, weight)
        return dict(loss_foreground=self.loss_weight * (bce + self.dice_weight * dice.mean()))

    def probability(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Probability of foreground, ``(B, 1, H, W)`` at ``size``."""
        return F.interpolate(logits, list(size), mode='nearest').sigmoid()

    def counts(self, logits: Tensor, labels: Tensor) -> list[dict[str, int]]:
        """Of each image, numbers of pixels.

        ``intersection`` and ``union`` of prediction (probability above one half) and label,
        ``foreground`` of the label, and all ``pixels``.
        """
        predicted = self.probability(logits, labels.shape[-2:]) > 0.5
        result = []
        for a, b in zip(predicted, labels > 0.5):
            numbers = dict(intersection=a & b, union=a | b, foreground=b)
            numbers = {name: int(value.sum()) for name, value in numbers.items()}
            result.append(dict(numbers, pixels=b.numel()))
        return result

    @staticmethod
    def stack_labels(data_samples: list | None, inputs: Tensor) -> Tensor:
        """The maps of the samples as ``(B, 1, H, W)`` float32 on the device of ``inputs``."""
        if not data_samples or any('foreground' not in sample for sample in data_samples):
            raise ValueError(
                'no foreground map in the data samples: add LoadForeground, BoxForeground or '
                'SaliencyForeground after the loading of the image, and pack its result with '
                "dict(type='PackInputs', algorithm_keys=['mask', 'foreground'])"
            )
        maps = [torch.as_tensor(sample.foreground) for sample in data_samples]
        return torch.stack(maps).unsqueeze(1).to(inputs.device, torch.float32)
