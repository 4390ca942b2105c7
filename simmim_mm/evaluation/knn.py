"""Classification by the nearest neighbors among labeled features."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from simmim_mm._renamed import old_names
from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.readers.class_folders import load_class_folders
from simmim_mm.datasets.shards import is_remote


class LabeledImages(NamedTuple):
    """Image files, the index of each one's class, and the names of the classes."""

    paths: list[str]
    labels: Tensor
    classes: tuple[str, ...]


def weighted_knn(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor | None = None,
    k: int = 20,
    temperature: float = 0.07,
    chunk: int = 1024,
) -> Tensor:
    """Predicted labels ``(M,)``, as in Wu et al. (arXiv 1805.01978, section 3.4) and DINO.

    The k features most similar by cosine vote with ``exp(similarity / temperature)``; of equal
    votes the first class wins.

    Args:
        bank: ``(N, C)`` labeled features.
        bank_labels: ``(N,)`` integers from 0.
        queries: ``(M, C)``. None: those of the bank, each of which is left out of its own vote.
        k: Neighbors; all there are, if fewer.
        temperature: Low ones let the nearest decide.
        chunk: Queries compared at once, which bounds the memory.
    """
    leave_out = queries is None
    bank = F.normalize(bank, dim=1)
    queries = bank if leave_out else F.normalize(queries, dim=1)
    k = min(k, len(bank) - leave_out)
    predictions = []
    for first in range(0, len(queries), chunk):
        similarity = queries[first : first + chunk] @ bank.T
        if leave_out:
            rows = torch.arange(len(similarity))
            similarity[rows, first + rows] = -torch.inf
        nearest, index = similarity.topk(k, dim=1)
        # the largest as 0: the same votes up to a factor, without overflow
        weights = ((nearest - nearest[:, :1]) / temperature).exp()
        votes = weights.new_zeros(len(similarity), int(bank_labels.max()) + 1)
        predictions.append(votes.scatter_add(1, bank_labels[index], weights).argmax(1))
    return torch.cat(predictions)


def labeled_images(root: str | Path) -> LabeledImages:
    """Images of a folder with one folder for each class; see :func:`load_class_folders`."""
    found = load_class_folders(root)
    return LabeledImages(found.paths, torch.tensor(found.labels), found.classes)


def load_split(
    root: str | Path, val: str | Path | None = None
) -> tuple[LabeledImages, LabeledImages | None]:
    """Labeled images to vote and, if there are any, others to be classified.

    Args:
        root: A folder with a folder for each class, or its shards; or one with ``train`` and
            ``val`` of that kind.
        val: Folder of the images to be classified. None: ``root``'s own ``val``, if it has one.

    Raises:
        DataError: See :func:`load_class_folders`; or if the classes of the two differ.
    """
    if not is_remote(str(root)):
        root = Path(root).expanduser()
    if (
        val is None
        and isinstance(root, Path)
        and all((root / split).is_dir() for split in ('train', 'val'))
    ):
        root, val = Path(root, 'train'), Path(root, 'val')
    bank = labeled_images(root)
    if val is None:
        return bank, None
    queries = labeled_images(val)
    if queries.classes != bank.classes:
        lacking = first_few(map(repr, sorted(set(bank.classes) ^ set(queries.classes))))
        raise DataError(f'the classes of {root} and {val} differ: only one has {lacking}')
    return bank, queries


def percent_right(predicted: Tensor, labels: Tensor) -> float:
    """Percentage of the predicted labels ``(N,)`` that are those given."""
    return 100 * (predicted == labels).double().mean().item()


def knn_accuracy(
    extract: Callable[[Sequence[str]], Tensor],
    bank: LabeledImages,
    queries: LabeledImages | None = None,
    k: int = 20,
    temperature: float = 0.07,
) -> float:
    """Percentage of images that their neighbors classify correctly.

    Args:
        extract: From image files to features ``(N, C)``.
        bank: The images that vote.
        queries: The images that are classified. None: each one of the bank by all others.
        k: As ``temperature``, see :func:`weighted_knn`.
    """
    features = extract(bank.paths)
    other = None if queries is None else extract(queries.paths)
    predicted = weighted_knn(features, bank.labels, other, k, temperature)
    labels = bank.labels if queries is None else queries.labels
    return percent_right(predicted, labels)


__getattr__ = old_names(__name__)
