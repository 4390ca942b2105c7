from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner

from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.registry import HOOKS
from simmim_mm.visualization.grid import choose_channels, display_range, to_rgb


@HOOKS.register_module()
class PredictionHook(Hook):
    """Draws predictions of detectors and segmenters on images of any number of channels.

    The hooks of mmdet and mmseg read images with OpenCV, which cannot open those of many channels.
    This one takes the loader of the pipeline. Values of other than 8 bits are stretched between
    their 1st and 99th percentile. The visualizer of the config draws: mmdet's or mmseg's.

    Args:
        channels: One channel to show (gray), or three (as red, green and blue), from 0; None shows
            the first ones.
        interval: In validation, draw the first image of every so many batches; all in tests.
        score_thr: Least score of the boxes that are shown.
    """

    def __init__(
        self, channels: Sequence[int] | None = None, interval: int = 50, score_thr: float = 0.3
    ) -> None:
        self.channels, self.interval, self.score_thr = channels, interval, score_thr

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if batch_idx % self.interval == 0:
            self._draw(runner, runner.val_dataloader.dataset, outputs[0], 'val', runner.iter)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        for sample in outputs:
            self._draw(runner, runner.test_dataloader.dataset, sample, 'test', batch_idx)

    def _draw(self, runner: Runner, dataset: Any, sample: Any, part: str, step: int) -> None:
        _, single = next(single_datasets(dataset))
        image = single.pipeline.transforms[0](dict(img_path=sample.img_path))['img']
        values = np.moveaxis(image.reshape(*image.shape[:2], -1), -1, 0).astype(np.float32)
        values = values[list(choose_channels(len(values), self.channels))]
        picture = np.ascontiguousarray(to_rgb(values, display_range(values)))
        is_detector = 'pred_instances' in sample
        options = dict(pred_score_thr=self.score_thr) if is_detector else {}
        name = f'{part}_{Path(sample.img_path).stem}'
        runner.visualizer.add_datasample(name, picture, sample, step=step, **options)
