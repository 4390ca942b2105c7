from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.evaluation import Accuracy

from simmim_mm.registry import METRICS


@METRICS.register_module()
class SubsetAccuracy(Accuracy):
    """mmpretrain's Accuracy among some of a classifier's classes.

    ImageNet-A and ImageNet-R have images of 200 of the 1000 classes: the best of these counts, and
    the others cannot be chosen (Hendrycks et al., arXiv 1907.07174 and 2006.16241).

    Args:
        subset: Numbers of the classes that can be chosen, by the head.
        **kwargs: mmpretrain's: ``topk``, ...
    """

    def __init__(self, subset: Sequence[int], **kwargs) -> None:
        super().__init__(**kwargs)
        self.subset = torch.tensor(sorted(set(subset)))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        restricted = []
        for sample in data_samples:
            score = torch.full_like(sample['pred_score'], -torch.inf)
            score[self.subset] = sample['pred_score'][self.subset]
            restricted.append(dict(pred_score=score, gt_label=sample['gt_label']))
        super().process(data_batch, restricted)
