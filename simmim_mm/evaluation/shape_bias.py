"""Does a classifier go by shape or by texture? Decisions on images in which they conflict."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.evaluator import BaseMetric
from mmpretrain.evaluation import ShapeBiasMetric
from torch import Tensor

from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.image_folder import list_images
from simmim_mm.registry import METRICS

_CATEGORIES = 'airplane bear bicycle bird boat bottle car cat chair clock dog elephant keyboard'
CATEGORIES = (*_CATEGORIES.split(), 'knife', 'oven', 'truck')
_STIMULUS = re.compile(r'([a-z]+)\d*-([a-z]+)\d*')
_SYNONYMS = dict(car='automobile', boat='ship')  # in CIFAR-10


class Cues(NamedTuple):
    """The categories that an image has the shape and the texture of."""

    shape: str
    texture: str


def read_cues(path: str | Path) -> Cues | None:
    """The cues of a stimulus by its name, such as ``cat4-truck2.png``; None of other names."""
    match = _STIMULUS.fullmatch(Path(path).stem)
    return Cues(*match.groups()) if match and set(match.groups()) <= set(CATEGORIES) else None


def find_stimuli(root: str | Path, categories: Sequence[str] = CATEGORIES) -> list[str]:
    """Images below a folder whose shape and texture are two different ones of the categories.

    Raises:
        DataError: If there is none.
    """
    found = []
    for path in list_images(root):
        cues = read_cues(path)
        if cues and cues.shape != cues.texture and set(cues) <= set(categories):
            found.append(path)
    if not found:
        raise DataError(
            f'{root} has no image named like cat4-truck2.png (shape, texture) of two of the '
            f'categories {", ".join(categories)}'
        )
    return found


def category_classes(
    number: int, names: Sequence[str], given: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[int]]:
    """Numbers of a classifier's classes that make up each of the 16 categories.

    Args:
        number: Of classes. With 1000 that have no names of their own, these are ImageNet's, in the
            mapping of Geirhos et al. (arXiv 1811.12231), which mmpretrain has too.
        names: Of the classes. Classes that are called as a category are it.
        given: Names of classes by category, in addition.

    Returns:
        Those of the categories that the classifier knows.

    Raises:
        DataError: If a category or class does not exist, or fewer than two categories are known.
    """
    if number == 1000 and not set(names) & set(CATEGORIES):
        return {name: list(getattr(ShapeBiasMetric, f'{name}_indices')) for name in CATEGORIES}
    wanted = {name: [name, _SYNONYMS.get(name, name)] for name in CATEGORIES}
    for category, classes in (given or {}).items():
        if category not in wanted:
            raise DataError(f'no category {category!r}; there are {", ".join(CATEGORIES)}')
        if unknown := [name for name in classes if name not in names]:
            raise DataError(f'no class {unknown[0]!r}; there are {", ".join(names)}')
        wanted[category] = list(classes)
    found = {
        category: [i for i, name in enumerate(names) if name in classes]
        for category, classes in wanted.items()
    }
    found = {category: indices for category, indices in found.items() if indices}
    if len(found) < 2:
        raise DataError(
            f'of the 16 categories ({", ".join(CATEGORIES)}) the classes {", ".join(names)} have '
            f'{len(found)}: name more with --categories CATEGORY=CLASS'
        )
    return found


@METRICS.register_module()
class ShapeBias(BaseMetric):
    """Decisions on cue-conflict images (Geirhos et al., arXiv 1811.12231).

    A decision is the category whose classes have the highest mean probability. Reported as
    ``shape_bias/bias``: decisions for the shape in percent of those for shape or texture;
    ``shape_bias/decided``: these in percent of all; and for each category of shapes the numbers
    ``shape_bias/CATEGORY/shape``, ``/texture`` and ``/other``. Without a decision for either cue
    the bias is NaN.

    Args:
        categories: Numbers of the classes by category, see :func:`category_classes`.
    """

    default_prefix = 'shape_bias'

    def __init__(self, categories: Mapping[str, Sequence[int]], **kwargs) -> None:
        super().__init__(**kwargs)
        self.categories = {name: torch.tensor(list(v)) for name, v in categories.items()}

    def decide(self, scores: Tensor) -> str:
        """Category by the probabilities ``(classes,)``; of equal ones the first."""
        means = [scores[indices].mean() for indices in self.categories.values()]
        return list(self.categories)[int(torch.stack(means).argmax())]

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            cues = read_cues(sample['img_path'])
            if cues is None:
                raise ValueError(f'{sample["img_path"]} is not named like cat4-truck2.png')
            self.results.append((self.decide(sample['pred_score'].float().cpu()), *cues))

    def compute_metrics(self, results: list) -> dict[str, float]:
        return count_decisions(results)


def count_decisions(results: Sequence[tuple[str, str, str]]) -> dict[str, float]:
    """Metrics of :class:`ShapeBias` from (decision, shape, texture)."""
    kinds = Counter(
        (shape, 'shape' if decision == shape else 'texture' if decision == texture else 'other')
        for decision, shape, texture in results
    )
    counts: dict[str, float] = {}
    for category in sorted({shape for shape, _ in kinds}):
        for kind in ('shape', 'texture', 'other'):
            counts[f'{category}/{kind}'] = kinds[category, kind]
    shape, texture = (sum(n for (_, k), n in kinds.items() if k == x) for x in ('shape', 'texture'))
    bias = 100 * shape / (shape + texture) if shape + texture else float('nan')
    return dict(bias=bias, decided=100 * (shape + texture) / len(results), **counts)
