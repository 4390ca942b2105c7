"""Labeled images that cannot be read are skipped in a training, as those without labels are."""

from typing import Any

from simmim_mm.datasets.errors import UnreadableImage, reason_of
from simmim_mm.datasets.image_dataset import (
    FileStatus,
    ImageDataset,
    pipeline_steps,
    single_datasets,
)

_MAX_BAD_FRACTION = 0.5  # as that of ImageDataset


class SkippingLoader:
    """In the place of a step that loads an image or a segmentation map.

    A file that the step cannot read becomes None, for which every data set of OpenMMLab takes
    another image at random; it is logged and counted. In a validation, where no other image will
    do, it is an :class:`UnreadableImage`.

    Args:
        step: The step.
        dataset: The data set to whose pipeline it belongs.
        status: Which files have been read; the steps of a pipeline share it.
        skips: Whether files may be left out.
    """

    def __init__(self, step: Any, dataset: Any, status: FileStatus, skips: bool):
        self.step, self.dataset, self.status, self.skips = step, dataset, status, skips

    def __call__(self, results: dict) -> dict | None:
        path = results['img_path']
        if 'img' in results:  # this step loads its map
            path = results.get('seg_map_path') or path
        index = results.get('sample_idx')
        try:
            loaded = self.step(results)
        except Exception as error:  # decoders raise everything
            unreadable = UnreadableImage(str(path), reason_of(error, str(path)))
            if not self.skips or index is None:
                raise unreadable from error
            self.status.report_bad(index, unreadable, self.path_of, _MAX_BAD_FRACTION)
            return None
        if index is not None:
            self.status.mark_good(index)
        return loaded

    def path_of(self, index: int) -> str:
        """Path of an image by its index."""
        return self.dataset.get_data_info(index)['img_path']

    def bad_files(self, all_ranks: bool = False) -> list[str]:
        """As :meth:`ImageDataset.bad_files`: of images; a bad map counts as its image."""
        return [self.path_of(i) for i in self.status.bad(all_ranks)]

    def __len__(self) -> int:
        return len(self.status.state)

    def __repr__(self) -> str:
        return repr(self.step)


def loads_files(step: Any) -> bool:
    """Whether it is a step that loads images or segmentation maps."""
    return type(step).__name__.startswith('Load')


def skip_unreadable(dataset: Any, skips: bool = True) -> None:
    """Let the built data sets inside ``dataset`` do without files that cannot be read.

    Args:
        dataset: Of mmpretrain, mmdet or mmseg, also in wrappers. An ``ImageDataset`` skips them
            itself, others stay as they are.
        skips: False for a validation: the error names the file.
    """
    for _, part in single_datasets(dataset):
        steps = pipeline_steps(part)
        if not steps or isinstance(part, ImageDataset) or not hasattr(part, 'get_data_info'):
            continue
        status = FileStatus(len(part))
        for i, step in enumerate(steps):
            if loads_files(step):
                steps[i] = SkippingLoader(step, part, status, skips)


def counting_files(dataset: Any) -> list[Any]:
    """What counts unreadable files, by ``len`` and ``bad_files()``, of each data set inside."""
    parts = [part for _, part in single_datasets(dataset)]
    found = []
    for part in parts:
        if isinstance(part, ImageDataset):
            found.append(part)
            continue
        steps = pipeline_steps(part)
        found += [step for step in steps if isinstance(step, SkippingLoader)][:1]
    return found
