import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook

from simmim_mm.engine.unwrap import whole_weights
from simmim_mm.evaluation.features import FeatureExtractor
from simmim_mm.evaluation.knn import load_split, percent_right, weighted_knn
from simmim_mm.evaluation.linear_probe import ridge_probe
from simmim_mm.models.teachers.relations import rank_me
from simmim_mm.registry import HOOKS

# By what a config asks for: under what name it is logged, and how it reads.
_NAMES = dict(knn='knn/accuracy', linear='linear/accuracy', rankme='rankme')
_TEXTS = dict(
    knn='kNN accuracy {:.2f}%', linear='linear accuracy {:.2f}%', rankme='effective rank {:.1f}'
)


@HOOKS.register_module()
class ProbeHook(Hook):
    """Reports during a pretraining what its features are worth on a small labeled set.

    The pooled last map of the backbone is computed once for each image; from it come

    - ``knn/accuracy``: percent classified by weighted nearest neighbors (``evaluation.knn``);
    - ``linear/accuracy``: percent classified by a linear layer in closed form
      (``evaluation.linear_probe``);
    - ``rankme``: the effective rank of the features (RankMe, arXiv 2210.02885), which needs no
      labels: between 1, collapsed, and the smaller of their number and their width.

    They go to the log, with the time they took, and to the visualizer. Measured at validations they
    are also among the metrics, by which ``save_best`` of the checkpoint hook and
    ``EarlyStoppingHook`` choose. The training is not affected: the random state and the training
    mode are restored.

    Args:
        data_root: A folder with a folder of images for each class, each image classified by all
            others; or a folder with ``train`` and ``val`` of that kind.
        interval: Epochs, iterations if not ``by_epoch``, from one measurement to the next. None: at
            every validation.
        probes: What to measure: some of ``'knn'``, ``'linear'``, ``'rankme'``.
        k: Neighbors.
        temperature: See :func:`weighted_knn`.
        batch_size: Images encoded at once.
        num_workers: Processes that load images.

    Raises:
        ValueError: If ``probes`` names another one; when the training begins, if ``interval`` is
            None and there is no validation.
    """

    # After the optimizer's and the scheduler's hooks; before those that look at a validation.
    priority = 'NORMAL'

    def __init__(
        self,
        data_root: str,
        interval: int | None = None,
        by_epoch: bool = True,
        probes: Sequence[str] = tuple(_NAMES),
        k: int = 20,
        temperature: float = 0.07,
        batch_size: int = 64,
        num_workers: int = 0,
    ) -> None:
        if not probes or not set(probes) <= set(_NAMES):
            raise ValueError(f'probes must be some of {", ".join(_NAMES)}, got {list(probes)}')
        self.data_root, self.probes = data_root, tuple(probes)
        self.interval, self.by_epoch = interval, by_epoch
        self.k, self.temperature = k, temperature
        self.load = dict(batch_size=batch_size, num_workers=num_workers)
        self.values: dict[str, float] = {}

    def before_run(self, runner) -> None:
        """Look at the data before the training starts."""
        if self.interval is None and runner.val_loop is None:
            raise ValueError(
                f'{type(self).__name__} is to measure at validations, and there is none: set its '
                'interval, or val_dataloader'
            )
        self.bank, self.queries = load_split(self.data_root)

    def after_train_epoch(self, runner) -> None:
        if self.interval and self.by_epoch and self.every_n_epochs(runner, self.interval):
            self.measure(runner, runner.iter)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.interval and not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self.measure(runner, runner.iter + 1)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if self.interval is None and metrics is not None:
            self.measure(runner, runner.iter)
            values = [self.values]  # every process chooses by the same ones
            broadcast_object_list(values)
            metrics.update(values[0])

    def measure(self, runner, step: int) -> None:
        """Measure the state after ``step`` iterations; all processes call it, the first works."""
        self.values = {_NAMES[probe]: math.nan for probe in self.probes}
        with whole_weights(runner.model) as model:
            if is_main_process():
                self._try_to_measure(runner, model, step)

    def _try_to_measure(self, runner, model: Any, step: int) -> None:
        try:
            self._measure(runner, model, step)
        except Exception as error:  # no measurement is worth a training
            runner.logger.warning(
                f'No probe on {self.data_root} after {step} iterations '
                f'({type(error).__name__}: {error}); the training goes on.'
            )

    def _measure(self, runner, model: Any, step: int) -> None:
        start = time.perf_counter()
        extract = FeatureExtractor(model.backbone, model.data_preprocessor, runner.cfg, **self.load)
        device = next(model.parameters()).device
        with torch.random.fork_rng([device] if device.type == 'cuda' else []):
            bank = extract(self.bank.paths)
            queries = None if self.queries is None else extract(self.queries.paths)
        labels = (self.queries or self.bank).labels

        voters = self.bank.labels
        measures = dict(
            knn=lambda: percent_right(
                weighted_knn(bank, voters, queries, self.k, self.temperature), labels
            ),
            linear=lambda: percent_right(ridge_probe(bank, voters, queries).predicted, labels),
            rankme=lambda: rank_me(bank).item(),
        )
        values = {probe: measures[probe]() for probe in self.probes}
        self.values = {_NAMES[probe]: value for probe, value in values.items()}
        said = ', '.join(_TEXTS[probe].format(value) for probe, value in values.items())
        runner.logger.info(
            f'Probe on {self.data_root} after {step} iterations: {said} '
            f'({time.perf_counter() - start:.1f} s)'
        )
        for name, value in self.values.items():
            runner.visualizer.add_scalar(name, value, step)
