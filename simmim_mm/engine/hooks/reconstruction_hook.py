from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from torch.utils.data import ConcatDataset

from simmim_mm._renamed import renamed_arguments
from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.datasets.seeding import SeededIndex, sample_seed
from simmim_mm.engine.unwrap import whole_weights
from simmim_mm.registry import HOOKS
from simmim_mm.visualization import draw_grid, target_note


@HOOKS.register_module()
@renamed_arguments(bands='channels')
class ReconstructionHook(Hook):
    """Draws what the model reconstructs, every so many iterations and at the end.

    The images are validation images, or training images where there is no validation, and keep
    their crops and masks, so that the images of a run show its progress. They go to
    ``<work_dir>/vis_data/reconstruction_<iteration>.png`` and, under the name ``reconstruction``,
    to the visualizer (TensorBoard).

    Training does not notice: the random state and the training mode are put back, and a picture
    that fails is warned of once.

    Args:
        interval: Iterations from one drawing to the next. Zero or less: at the end only.
        num_images: Rows of the grid, taken at equal distances from the dataset.
        stats: See :meth:`TargetGenerator.invert`.
        channels: Channels to show as gray or RGB; see :func:`choose_channels`.
    """

    # After the optimizer's and the scheduler's hooks, before CheckpointHook (VERY_LOW).
    priority = 'LOW'

    def __init__(
        self,
        interval: int = 1000,
        num_images: int = 6,
        stats: str = 'true',
        channels: Sequence[int] | None = None,
    ) -> None:
        if num_images < 1:
            raise ValueError(f'num_images must be at least 1, got {num_images}')
        self.interval, self.num_images = interval, num_images
        self.stats, self.channels = stats, channels
        self._batch: dict | None = None
        self._last = -1
        self._failed = False

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.every_n_train_iters(runner, self.interval):
            self.draw(runner, runner.iter + 1)

    def after_train(self, runner) -> None:
        if self._last != runner.iter:
            self.draw(runner, runner.iter)

    def draw(self, runner, step: int) -> None:
        """Draw the state after ``step`` iterations; all processes call it, the first draws."""
        with whole_weights(runner.model) as model:
            if is_main_process():
                self._try_to_draw(runner, model, step)
        self._last = step

    def _try_to_draw(self, runner, model: Any, step: int) -> None:
        try:
            self._draw(runner, model, step)
        except Exception as error:  # no picture is worth a training
            if not self._failed:
                runner.logger.warning(
                    f'No picture of the reconstruction after {step} iterations '
                    f'({type(error).__name__}: {error}); the training goes on.'
                )
            self._failed = True

    def _draw(self, runner, model: Any, step: int) -> None:
        if not model.invertible:
            if self._last < 0:
                runner.logger.warning('what the model predicts is not an image: nothing is drawn')
            return
        training = model.training
        device = next(model.parameters()).device
        model.eval()
        try:
            with torch.random.fork_rng([device] if device.type == 'cuda' else []):
                if self._batch is None:
                    self._batch = self._fixed_batch(runner)
                data = model.data_preprocessor(self._batch, False)
                mask = model.stack_masks(data['data_samples'], data['inputs'])
                pictures = model.reconstruct(data['inputs'], mask, self.stats)
        finally:
            model.train(training)
        note = target_note(model.target, self.stats)
        image = draw_grid(pictures, channels=self.channels, note=note)
        folder = Path(runner.work_dir) / 'vis_data'
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f'reconstruction_{step:07d}.png')
        runner.visualizer.add_image('reconstruction', np.asarray(image), step=step)

    def _fixed_batch(self, runner) -> dict:
        loader = runner.train_dataloader if runner.val_loop is None else runner.val_dataloader
        # without repetitions, or all rows might show the same image
        dataset = ConcatDataset([part for _, part in single_datasets(loader.dataset)])
        count = min(self.num_images, len(dataset))
        # These seeds are those of ReproducibleSampler(fixed=True): the masks are the validation's.
        samples = [
            dataset[SeededIndex(i, sample_seed(runner.seed, -1, i))]
            for i in (k * len(dataset) // count for k in range(count))
        ]
        return loader.collate_fn(samples)
