import math
from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from simmim_mm.registry import METRICS


@METRICS.register_module()
class MaskedLoss(BaseMetric):
    """Mean loss of held-out images, each under its own mask.

    Averages ``masked_losses``, the head's losses, which the algorithm's ``predict`` enters in each
    data sample; over images, so that neither the batch size nor the number of processes changes it.
    With a validation sampler whose masks are fixed (``ReproducibleSampler(fixed=True)``) the losses
    of two epochs, or two models, can be compared.

    Reported as ``masked_loss/<name>``, usually ``masked_loss/loss``; lower is better.
    """

    default_prefix = 'masked_loss'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            if 'masked_losses' not in sample:
                raise ValueError(
                    'no masked_losses in the data samples: MaskedLoss works on the results of '
                    'MaskedImageModel.predict'
                )
            self.results.append(dict(sample['masked_losses']))

    def compute_metrics(self, results: list) -> dict[str, float]:
        if not results:
            raise ValueError('no validation images: check val_dataloader')
        # fsum is exact: the order in which processes deliver their images does not matter.
        return {k: math.fsum(r[k] for r in results) / len(results) for k in results[0]}
