"""Repaired jsons, in the place of the user's, for data sets and metrics while they are built."""

import os.path as osp
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import Evaluator

from simmim_mm.datasets.readers.coco_report import CocoReport
from simmim_mm.engine.checks.coco import evaluators


class RepairedCopies:
    """Files that data sets and metrics read once, when they are built.

    Args:
        folder: Where they are written; it may be deleted after the building.
    """

    def __init__(self, folder: str):
        self._folder = folder
        self._originals: dict[str, str] = {}  # by copy
        self._copies: dict[str, str] = {}  # by absolute path of the original; the latest

    def replace(self, dataset: dict, report: CocoReport) -> None:
        """Let the config of a data set read what was repaired."""
        path = osp.join(self._folder, f'{len(self._originals)}.json')
        report.write(path)
        self._originals[path] = report.path
        self._copies[osp.abspath(report.path)] = path
        dataset.update(ann_file=path, backend_args=None)

    def restore_names(self, datasets: Iterable[Any]) -> None:
        """Let built data sets name the user's files again."""
        for dataset in datasets:
            path = getattr(dataset, 'ann_file', None)
            if path in self._originals:
                dataset.ann_file = self._originals[path]

    def build_evaluator(self, cfg: Config) -> Evaluator | None:
        """The evaluator of the validation, if one of its metrics reads a repaired json."""
        metrics = deepcopy(evaluators(cfg))
        found = False
        for metric in metrics:
            copy = self._copies.get(osp.abspath(metric.get('ann_file') or ''))
            if copy:
                metric.update(ann_file=copy, backend_args=None)
                found = True
        return Evaluator(metrics) if found else None
