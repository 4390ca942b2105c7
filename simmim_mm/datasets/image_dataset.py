"""Images without labels, and which of their files could be read."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine import fileio
from mmengine.dataset import BaseDataset
from mmengine.dist import all_reduce
from mmengine.logging import MMLogger

from simmim_mm._renamed import renamed_arguments
from simmim_mm.datasets.errors import DataError, TooManyBadFiles, UnreadableImage, first_few
from simmim_mm.datasets.image_folder import IMAGE_EXTENSIONS, list_images, read_list
from simmim_mm.datasets.seeding import seeded_rng
from simmim_mm.datasets.shards import are_shards, is_address, parse_address, shown
from simmim_mm.registry import DATASETS

_UNREAD, _GOOD, _BAD = 0, 1, 2
_MIN_TRIED = 1000


class FileStatus:
    """Which files have been read: a byte for each, in memory shared by the workers of one rank."""

    def __init__(self, num_files: int):
        # A tensor, because unlike multiprocessing.Array it can be pickled and copied at any time,
        # and still is the same memory in forked and in spawned workers.
        self.state = torch.zeros(num_files, dtype=torch.uint8).share_memory_()

    def __deepcopy__(self, memo: dict) -> 'FileStatus':
        # mmengine copies data sets that it is given; a copied tensor would no longer be shared.
        other = FileStatus(len(self.state))
        other.state.copy_(self.state)
        return other

    def mark_good(self, index: int) -> None:
        """Note that a file was read. One that failed before stays marked as bad."""
        state = self.state.numpy()  # indexing a tensor takes five times as long
        if state[index] == _UNREAD:
            state[index] = _GOOD

    def mark_bad(self, index: int) -> bool:
        """Note that a file could not be read; True if no worker had noted it before."""
        state = self.state.numpy()
        is_new = bool(state[index] != _BAD)
        state[index] = _BAD
        return is_new

    def bad(self, all_ranks: bool = False) -> list[int]:
        """Indices of the unreadable files found so far; see :meth:`ImageDataset.bad_files`."""
        is_bad = (self.state == _BAD).to(torch.uint8)
        if all_ranks:
            all_reduce(is_bad, op='max')
        return is_bad.nonzero().flatten().tolist()

    def count(self) -> tuple[int, int]:
        """Numbers of unreadable files and of files tried so far, by all workers of this rank.

        The second is at least 1000, or the number of all files if that is smaller, so that a few
        bad files at the beginning do not stop a training.
        """
        tried = int((self.state != _UNREAD).sum())
        return int((self.state == _BAD).sum()), max(tried, min(len(self.state), _MIN_TRIED))

    def report_bad(
        self,
        index: int,
        error: UnreadableImage,
        path_of: Callable[[int], str],
        most: float,
        hint: str = '',
    ) -> None:
        """Note that a file could not be read, and log it once.

        Args:
            index: Of the file.
            error: Why.
            path_of: Gives the path of a file by its index.
            most: Largest tolerated fraction of bad files.
            hint: What else its reader may do.

        Raises:
            TooManyBadFiles: If there are more.
        """
        if self.mark_bad(index):
            MMLogger.get_current_instance().warning(f'Unreadable file skipped: {error}')
        num_bad, num_tried = self.count()
        if num_bad > most * num_tried:
            paths = first_few((repr(path_of(i)) for i in self.bad()), 3)
            raise TooManyBadFiles(
                f'{num_bad} of {num_tried} files ({num_bad / num_tried:.0%}) are unreadable, more '
                f'than max_bad_fraction={most:g} of them: {paths} (the log has the reasons). '
                f'Repair or remove them{hint}. Last error: {error}'
            )


@DATASETS.register_module()
@renamed_arguments(max_bad_share='max_bad_fraction')
class ImageDataset(BaseDataset):
    """Images without labels, from folders or from a list; unreadable ones are skipped.

    A folder is searched with all its subfolders, so the layout of ImageNet is read as it is. A
    sample is ``dict(img_path=..., sample_idx=...)``, sent through ``pipeline``.

    **Unreadable files.** A file for which the pipeline raises :class:`UnreadableImage` is replaced
    by another one drawn at random, its path and the reason are logged once, and it is counted (see
    :meth:`bad_files`; ``BadFilesHook`` reports them after training). When more than
    ``max_bad_fraction`` of the files are bad, :class:`TooManyBadFiles` stops training: the disk was
    unmounted, perhaps, or a copy was aborted.

    **Randomness.** For a :class:`SeededIndex`, as ``ReproducibleSampler`` yields it, all random
    numbers of the pipeline and the choice of a replacement follow from the seed of the index.

    Args:
        data_root: Folder, or several, which then follow one another. Or shards, at a path or a URL,
            see :func:`~simmim_mm.datasets.shards.list_shards`.
        ann_file: List of paths, one a line, instead of all files (with at most one ``data_root``).
            Blank lines and lines that begin with ``#`` are ignored. Relative to ``data_root`` if it
            exists there, else to the working directory.
        data_prefix: Subfolder of ``data_root`` with the images; paths in the list begin here.
        extensions: Endings of the files to take from a folder.
        exclude: Patterns of files and folders to leave out, such as ``'*_mask.png'`` or ``'val'``,
            compared with the path below the folder.
        max_bad_fraction: Largest tolerated fraction of unreadable files, 0 to 1, among those read
            so far (among 1000 or all files at least).
        max_refetch: Training stops when this many files drawn in a row are unreadable.
        trust_annotations: Let paths in the list lead out of ``data_root``, and name addresses.
            Without ``data_root`` they may.
        **kwargs: For :class:`mmengine.dataset.BaseDataset`: ``pipeline``, ``indices``,
            ``lazy_init``, ...

    Raises:
        DataError: If there is nothing to load: a missing folder, a folder without images, ...
    """

    METAINFO: dict = dict(dataset_type='images', task_name='masked image modeling')

    def __init__(
        self,
        data_root: str | Sequence[str] = '',
        ann_file: str = '',
        data_prefix: str | dict = '',
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        exclude: Sequence[str] = (),
        max_bad_fraction: float = 0.5,
        max_refetch: int = 50,
        trust_annotations: bool = False,
        **kwargs,
    ):
        self.roots = [data_root] if isinstance(data_root, (str, os.PathLike)) else list(data_root)
        self.roots = [os.path.expanduser(root) for root in self.roots if str(root)]
        if not self.roots and not ann_file:
            raise DataError('no data: set data_root to a folder of images, or ann_file to a list')
        if len(self.roots) > 1 and ann_file:
            raise DataError(
                f'ann_file {ann_file!r} with {len(self.roots)} folders: paths in a list are '
                f'relative to one data_root; give one, or absolute paths and none'
            )
        if not 0 <= max_bad_fraction <= 1:
            raise DataError(f'max_bad_fraction must be from 0 to 1, got {max_bad_fraction}')
        if isinstance(data_prefix, str):
            data_prefix = dict(img_path=data_prefix)
        self.extensions = (extensions,) if isinstance(extensions, str) else tuple(extensions)
        self.exclude = (exclude,) if isinstance(exclude, str) else tuple(exclude)
        self.max_bad_fraction = max_bad_fraction
        self.trust_annotations = trust_annotations
        super().__init__(
            ann_file=ann_file,
            data_root=self.roots[0] if len(self.roots) == 1 else '',
            data_prefix=data_prefix,
            max_refetch=max_refetch,
            **kwargs,
        )
        _let_crops_decode(self.pipeline.transforms)

    def _join_prefix(self) -> None:
        """Join each root with the prefix; look for the list below the root, then here."""
        prefix = self.data_prefix.get('img_path', '')
        if prefix:
            roots = self.roots or ['']
            self.roots = [str(fileio.join_path(r, prefix)) if r else prefix for r in roots]
        if self.ann_file and self.data_root:
            below = str(fileio.join_path(self.data_root, self.ann_file))
            if '://' in below or os.path.exists(below) or not os.path.exists(self.ann_file):
                self.ann_file = below

    def load_data_list(self) -> list[dict]:
        if self.ann_file:
            folder = self.roots[0] if self.roots else ''
            root = '' if self.trust_annotations else self.data_root or folder
            paths = read_list(self.ann_file, folder, self.max_bad_fraction, root)
        else:
            paths = [p for r in self.roots for p in list_images(r, self.extensions, self.exclude)]
        return [dict(img_path=path) for path in paths]

    def full_init(self) -> None:
        if self._fully_initialized:
            return
        if self._indices == 0 or (isinstance(self._indices, Sequence) and not self._indices):
            raise DataError(f'indices={self._indices!r} leaves no image; give a number above 0')
        super().full_init()
        self._status = FileStatus(len(self))

    def get_subset_(self, indices: int | Sequence[int]) -> None:
        super().get_subset_(indices)
        self._status = FileStatus(len(self))

    def get_subset(self, indices: int | Sequence[int]) -> 'ImageDataset':
        subset = super().get_subset(indices)
        subset._status = FileStatus(len(subset))
        return subset

    def __getitem__(self, idx: int) -> dict:
        with seeded_rng(getattr(idx, 'seed', None)):
            return self._load_or_replace(int(idx))

    def _load_or_replace(self, idx: int) -> dict:
        error: UnreadableImage | None = None
        for _ in range(self.max_refetch + 1):
            try:
                data = self.prepare_data(idx)
                self._status.mark_good(idx)
                if data is not None:
                    return data
            except UnreadableImage as unreadable:
                error = unreadable
                hint = ', or raise max_bad_fraction'
                self._status.report_bad(idx, error, self._path, self.max_bad_fraction, hint)
            idx = self._rand_another()
        raise TooManyBadFiles(
            f'{self.max_refetch + 1} files drawn in a row gave no sample; the last error: {error}'
        )

    def bad_files(self, all_ranks: bool = False) -> list[str]:
        """Paths of the unreadable files found so far, by all worker processes of this rank.

        Args:
            all_ranks: Of all ranks; then every rank has to call this.
        """
        return [self._path(idx) for idx in self._status.bad(all_ranks)]

    def _path(self, idx: int) -> str:
        return shown(self.get_data_info(idx)['img_path'])

    @property
    def num_bad(self) -> int:
        """Number of unreadable files found so far, by all worker processes of this rank."""
        return self._status.count()[0]


def _let_crops_decode(steps: Sequence[Any]) -> None:
    """Where a loader can leave the decoding to the crop behind it, and that one can, it shall."""
    for step, following in zip(steps, steps[1:]):
        if hasattr(step, 'defers'):
            step.defers = getattr(following, 'takes_deferred', False)


def single_datasets(dataset: Any, place: str = 'dataset') -> Iterator[tuple[str, Any]]:
    """The data sets inside any nesting of wrappers: mmengine's, mmdet's, mmseg's, PyTorch's.

    Args:
        dataset: A data set, or its config.
        place: Where it stands in the config, such as ``'train_dataloader.dataset'``.

    Yields:
        Place, such as ``'train_dataloader.dataset.datasets.0'``, and data set or config.
    """
    config = dataset if isinstance(dataset, dict) else None
    for name in ('datasets', 'dataset', '_dataset'):
        inner = getattr(dataset, name, None) if config is None else config.get(name)
        if inner is None:
            continue
        if name != 'datasets':
            yield from single_datasets(inner, f'{place}.dataset')
        else:
            for i, part in enumerate(inner):
                yield from single_datasets(part, f'{place}.{name}.{i}')
        return
    yield place, dataset


def pipeline_steps(dataset: Any) -> list[Any]:
    """The built steps of a data set's pipeline, the list itself; empty if it has none."""
    return getattr(getattr(dataset, 'pipeline', None), 'transforms', None) or []


def image_datasets(dataset: Any) -> Iterator[ImageDataset]:
    """The image datasets inside any nesting of wrappers (``ConcatDataset``, ``RepeatDataset``)."""
    return (part for _, part in single_datasets(dataset) if isinstance(part, ImageDataset))


def images_by_shard(dataset: Any) -> list[np.ndarray] | None:
    """Indices of the images of each shard of a data set, also in wrappers; None if it has none.

    All that lie in no shard count as one.
    """
    if not any(are_shards(root) for part in image_datasets(dataset) for root in part.roots):
        return None
    numbers: dict[str, int] = {}
    shard = np.zeros(len(dataset), np.int64)
    for i in range(len(dataset)):
        path = dataset.get_data_info(i)['img_path']
        name = parse_address(path)[0] if is_address(path) else ''
        shard[i] = numbers.setdefault(name, len(numbers))
    if numbers.keys() <= {''}:  # a list of other files in remote storage
        return None
    order = np.argsort(shard, kind='stable')
    return np.split(order, np.flatnonzero(np.diff(shard[order])) + 1)
