"""Nearest neighbors as a probe: nothing is trained, so nothing has to be resumed."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from simmim_mm.evaluation.features import FeatureExtractor
from simmim_mm.evaluation.knn import knn_accuracy, load_split
from simmim_mm.experiments.pretrained import Pretrained
from simmim_mm.experiments.trial import Outcome, Trial

METRIC = 'knn/accuracy'


def run_knn(
    starts: Sequence[tuple[str, Pretrained, bool]],
    data: str | Path,
    seeds: int,
    report: Callable[[str], None],
) -> list[Outcome]:
    """Classify images by the nearest features of backbones as they are.

    Args:
        starts: Name, checkpoint, and whether its weights are used; without them the backbone has
            random ones, other ones for each seed.
        data: Folder with ``train/<class>`` and ``val/<class>``.
        seeds: Outcomes of each start; a checkpoint's are all equal.
        report: Called with lines of progress.
    """
    bank, queries = load_split(data)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    outcomes: list[Outcome] = []
    for name, pretrained, loaded in starts:
        for seed in range(seeds):
            trial = Trial(name, Config(), METRIC, seed)
            if loaded and seed:  # nothing is random
                value, seconds = outcomes[-1].value, outcomes[-1].seconds
            else:
                start = time.monotonic()
                extract = FeatureExtractor.from_checkpoint(pretrained.path, device=device)
                if not loaded:
                    _initialize(extract.backbone, seed)
                value = knn_accuracy(extract, bank, queries)
                seconds = time.monotonic() - start
                report(f'{name}, seed {seed}: {METRIC} {value:.4g}')
            folder = Path(pretrained.path).parent
            outcomes.append(Outcome(trial, folder, value, seconds, {METRIC: value}))
    return outcomes


def _initialize(backbone: torch.nn.Module, seed: int) -> None:
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')  # or it reports every weight
    torch.manual_seed(seed)
    for module in backbone.modules():
        reset = getattr(module, 'reset_parameters', None)
        if callable(reset):
            reset()
        if hasattr(module, '_is_init'):
            setattr(module, '_is_init', False)  # noqa: B010  of mmengine's modules
    backbone.init_weights()  # type: ignore[operator]  # all backbones have it
    logger.setLevel(level)
