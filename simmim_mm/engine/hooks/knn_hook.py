from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from simmim_mm.engine.unwrap import whole_weights
from simmim_mm.evaluation.features import FeatureExtractor
from simmim_mm.evaluation.knn import knn_accuracy, load_split
from simmim_mm.registry import HOOKS


@HOOKS.register_module()
class KNNHook(Hook):
    """Reports during a pretraining how well its features classify a small labeled set.

    By weighted nearest neighbors of the pooled last map (see ``evaluation.knn``): a sign, without
    any training, of whether a longer run or another setting helps. The accuracy, in percent, goes
    to the log and, as ``knn/accuracy``, to the visualizer. The training is not affected: the random
    state and the training mode are restored.

    Args:
        data_root: A folder with a folder of images for each class, each image classified by all
            others; or a folder with ``train`` and ``val`` of that kind.
        interval: Epochs, iterations if not ``by_epoch``, from one measurement to the next.
        k: Neighbors.
        temperature: See :func:`weighted_knn`.
        batch_size: Images encoded at once.
        num_workers: Processes that load images.
    """

    # After the optimizer's and the scheduler's hooks.
    priority = 'LOW'

    def __init__(
        self,
        data_root: str,
        interval: int = 1,
        by_epoch: bool = True,
        k: int = 20,
        temperature: float = 0.07,
        batch_size: int = 64,
        num_workers: int = 0,
    ) -> None:
        self.data_root = data_root
        self.interval, self.by_epoch = interval, by_epoch
        self.vote: dict[str, Any] = dict(k=k, temperature=temperature)
        self.load = dict(batch_size=batch_size, num_workers=num_workers)
        self.accuracy: float | None = None

    def before_run(self, runner) -> None:
        """Look at the data before the training starts."""
        self.bank, self.queries = load_split(self.data_root)

    def after_train_epoch(self, runner) -> None:
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self.measure(runner, runner.iter)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self.measure(runner, runner.iter + 1)

    def measure(self, runner, step: int) -> None:
        """Measure the state after ``step`` iterations; all processes call it, the first works."""
        with whole_weights(runner.model) as model:
            if is_main_process():
                self._try_to_measure(runner, model, step)

    def _try_to_measure(self, runner, model: Any, step: int) -> None:
        try:
            self._measure(runner, model, step)
        except Exception as error:  # no measurement is worth a training
            runner.logger.warning(
                f'No kNN accuracy on {self.data_root} after {step} iterations '
                f'({type(error).__name__}: {error}); the training goes on.'
            )

    def _measure(self, runner, model: Any, step: int) -> None:
        extract = FeatureExtractor(model.backbone, model.data_preprocessor, runner.cfg, **self.load)
        device = next(model.parameters()).device
        with torch.random.fork_rng([device] if device.type == 'cuda' else []):
            self.accuracy = knn_accuracy(extract, self.bank, self.queries, **self.vote)
        runner.logger.info(
            f'kNN accuracy on {self.data_root} after {step} iterations: {self.accuracy:.2f}%'
        )
        runner.visualizer.add_scalar('knn/accuracy', self.accuracy, step)
