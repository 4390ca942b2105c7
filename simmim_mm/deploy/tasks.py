"""The metric of an exported model on labeled images: accuracy, mIoU, or nearest neighbors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.image_folder import list_images
from simmim_mm.datasets.readers.segmentation_maps import load_mapped
from simmim_mm.deploy.int8 import load_images
from simmim_mm.deploy.runtimes import DeployError, OnnxRuntime, Runtime
from simmim_mm.evaluation.knn import load_split, percent_right, weighted_knn

_IGNORED = 255  # mmseg's


@dataclass
class Task:
    """Labeled images, and what is counted on them.

    Attributes:
        name: Of the metric.
        labels: Image file to class, or to its segmentation map.
        result: Name of the result that is compared.
        score: From results and labels, in the order of the images, to percent.
    """

    name: str
    labels: dict[str, Any]
    result: str
    score: Callable[[list[np.ndarray], list[Any]], float]


def find_task(model: OnnxRuntime, data: str | Path, maps: str | Path | None = None) -> Task:
    """What labels say of a model: accuracy of a classifier, mIoU of a segmenter, else kNN.

    Args:
        model: The original.
        data: Of a segmenter a folder of images, else a folder for each class, or ``train`` and
            ``val`` of that kind.
        maps: Of a segmenter, the folder of segmentation maps of the same names: the number of a
            class in each pixel, 255 for none.

    Raises:
        DataError: If they are not as they should be.
    """
    kind, classes = model.metadata['kind'], model.metadata['classes']
    if maps is not None and kind != 'segmenter':
        raise DeployError(f'--maps is for a segmenter, the file is a {kind}')
    if kind == 'segmenter':
        if maps is None:
            raise DeployError('--data of a segmenter needs its segmentation maps: --maps FOLDER')
        return Task('mIoU', _paired_maps(data, maps), 'labels', _mean_iou)
    if kind not in ('classifier', 'backbone'):
        raise DeployError(f'--data: there is no metric for a {kind} here')
    bank, queries = load_split(data)
    if kind == 'backbone':
        images = [*bank.paths, *(queries.paths if queries else ())]
        labels = [*bank.labels.tolist(), *(queries.labels.tolist() if queries else ())]
        voters = set(bank.paths) if queries else None
        pairs = {
            path: (label, voters is None or path in voters) for path, label in zip(images, labels)
        }
        return Task('kNN accuracy', pairs, model.output_names[-1], _knn)
    found = queries or bank
    if classes and list(found.classes) != classes:
        raise DataError(
            f'--data: the classes of {data} are {first_few(found.classes)}, those of the model '
            f'{first_few(classes)}'
        )
    return Task('accuracy', dict(zip(found.paths, found.labels.tolist())), 'scores', _accuracy)


def _accuracy(scores: list[np.ndarray], labels: list[int]) -> float:
    return 100 * float(np.mean([x.argmax() == label for x, label in zip(scores, labels)]))


def _knn(maps: list[np.ndarray], labels: list[tuple[int, bool]]) -> float:
    """Of those that do not vote, by those that do; of all by all others, if all vote."""
    features = torch.from_numpy(np.stack([x.mean((1, 2)) for x in maps]))
    classes = torch.tensor([label for label, _ in labels])
    votes = torch.tensor([vote for _, vote in labels])
    others = None if votes.all() else features[~votes]
    expected = classes if votes.all() else classes[~votes]
    predicted = weighted_knn(features[votes], classes[votes], others)
    return percent_right(predicted, expected)


def _paired_maps(images: str | Path, maps: str | Path) -> dict[str, np.ndarray]:
    files = list_images(images)
    by_stem = {Path(path).stem: path for path in list_images(maps)}
    if missing := [path for path in files if Path(path).stem not in by_stem]:
        raise DataError(f'--maps: {maps} has no map for {first_few(missing, 2)}')
    return {path: load_mapped(by_stem[Path(path).stem]) for path in files}


def _mean_iou(predicted: list[np.ndarray], maps: list[np.ndarray]) -> float:
    """Predictions are brought to the size of the maps, the nearest pixel, as mmseg's logits are."""
    size = 1 + max(int(x[x != _IGNORED].max(initial=0)) for x in maps)
    size = max(size, 1 + max(int(x.max()) for x in predicted))
    counts = np.zeros((size, size), np.int64)
    for found, expected in zip(predicted, maps):
        rows, columns = (np.arange(n) * m // n for n, m in zip(expected.shape, found.shape))
        pairs = found[rows][:, columns][expected != _IGNORED], expected[expected != _IGNORED]
        counts += np.bincount(pairs[0] * size + pairs[1], minlength=size**2).reshape(size, size)
    both = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - both
    return 100 * float(np.mean(both[union > 0] / union[union > 0]))


def score(task: Task, source: OnnxRuntime, models: Sequence[Runtime]) -> list[float]:
    """The metric of each model, in percent; images are loaded once, 64 at a time.

    Raises:
        DataError: If an image cannot be read.
    """
    paths, found = list(task.labels), [[] for _ in models]
    for first in range(0, len(paths), 64):
        images = load_images(source, paths[first : first + 64])
        for path, reason in images.unreadable.items():
            raise DataError(f'--data: {path}: {reason}')
        for model, values in zip(models, found):
            new = results(model, images.arrays, task.result)
            pools = task.score is _knn  # maps of all images would take much memory
            values += [x.mean((1, 2), keepdims=True) for x in new] if pools else new
    return [task.score(values, list(task.labels.values())) for values in found]


def results(
    model: Runtime, arrays: Sequence[np.ndarray], name: str, batch: int = 8
) -> list[np.ndarray]:
    """One result of a model, by its name, for each image."""
    index, found = model.output_names.index(name), []
    for first in range(0, len(arrays), batch):
        found += list(model(np.stack(arrays[first : first + batch]))[index])
    return found
