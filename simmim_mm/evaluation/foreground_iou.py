from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from simmim_mm.registry import METRICS


@METRICS.register_module()
class ForegroundIoU(BaseMetric):
    """Intersection over union of predicted and true foreground, of masked held-out images.

    Pixels of all images are counted together, so that images without objects count too. Works on
    the results of ``MaskedImageModel.predict`` with a foreground branch.

    Reported as ``foreground/iou``, and beside it ``foreground/share``, the true fraction of
    foreground, which is the IoU of calling every pixel so: what was learned is the difference.
    """

    default_prefix = 'foreground'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            if 'foreground_counts' not in sample:
                raise ValueError(
                    'no foreground_counts in the data samples: ForegroundIoU needs a model with '
                    "foreground=dict(type='ForegroundBranch', ...)"
                )
            self.results.append(dict(sample['foreground_counts']))

    def compute_metrics(self, results: list) -> dict[str, float]:
        if not results:
            raise ValueError('no validation images: check val_dataloader')
        total = {name: sum(one[name] for one in results) for name in results[0]}
        if not total['foreground']:
            raise ValueError(
                'no foreground in any validation image: check the labels that the foreground '
                'transform of val_dataloader loads'
            )
        return dict(
            iou=total['intersection'] / total['union'], share=total['foreground'] / total['pixels']
        )
