"""How much of an object a random crop keeps, and a mask leaves visible.

Works for any transform of the data pipeline that crops, scales, pads or flips: it is given an image
whose colors are coordinates, and its output shows where each pixel was taken from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from simmim_mm._renamed import old_names
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.readers.coco import load_coco
from simmim_mm.datasets.readers.coco_boxes import check_boxes
from simmim_mm.datasets.readers.coco_objects import check_crowds
from simmim_mm.datasets.readers.coco_report import CocoReport
from simmim_mm.datasets.seeding import sample_seed, seeded_rng

GRAY = 96  # not its own negative


@dataclass
class Objects:
    """Objects of one image.

    Attributes:
        size: Height and width of the image.
        boxes: ``(n, 4)`` left, top, right, bottom in pixels, inside the image.
    """

    size: tuple[int, int]
    boxes: np.ndarray


@dataclass
class Coverage:
    """Fractions of objects, each in 0..1 and averaged over the draws, in the order of the input.

    Attributes:
        kept: ``(n,)``, fraction of the box that the crop shows.
        visible: ``(n,)``, fraction of the box that is shown and not masked.
        image: ``(n,)``, index of the image that the object is in.
        area: ``(n,)``, the box as a fraction of its image.
    """

    kept: np.ndarray
    visible: np.ndarray
    image: np.ndarray
    area: np.ndarray

    def mean(self, name: str, per: str = 'object') -> float:
        """Mean of ``'kept'`` or ``'visible'``.

        Over all objects; ``per='image'``, over the means of the images; or ``'largest'``, over the
        largest object of each image.
        """
        values = getattr(self, name)
        if per == 'object':
            return float(values.mean())
        images = [np.flatnonzero(self.image == i) for i in np.unique(self.image)]
        if per == 'image':
            return float(np.mean([values[i].mean() for i in images]))
        return float(np.mean([values[i[self.area[i].argmax()]] for i in images]))


def read_objects(path: str | Path) -> list[Objects]:
    """Boxes of a COCO annotation file. The images themselves are not needed.

    Crowds and empty boxes are left out, boxes are clipped to their image, and images without a box
    are skipped. DataError if the file is not COCO's, holds no box, or other boxes than COCO's.
    """
    coco = load_coco(path, ('id', 'height', 'width'), ('image_id', 'bbox'), categories=())
    report = CocoReport(str(path), coco)
    check_boxes(report)
    check_crowds(report)
    report.conclude()
    sizes = {image['id']: (image['height'], image['width']) for image in coco.images}
    boxes: dict = {}
    for annotation in coco.annotations:
        height, width = sizes[annotation['image_id']]
        left, top, w, h = annotation['bbox']
        right, bottom = min(left + w, width), min(top + h, height)
        left, top = max(left, 0), max(top, 0)
        if right > left and bottom > top and not annotation.get('iscrowd'):
            boxes.setdefault(annotation['image_id'], []).append((left, top, right, bottom))
    if not boxes:
        raise DataError(f'{path} holds no boxes')
    return [Objects(sizes[i], np.array(b, dtype=np.float64)) for i, b in boxes.items()]


def trace_crop(transform: Callable, size: tuple[int, int]) -> tuple[np.ndarray, dict]:
    """Apply a transform once and find out what it shows.

    Args:
        transform: Takes and returns a pipeline's ``results``. It may crop, scale, pad and flip, but
            not rotate, nor change colors. Padding has to stay outside the central half.
        size: Height and width of the image.

    Returns:
        ``((top, bottom), (left, right))``: the coordinates in the image, in pixels, of the edges of
        what comes out. Flipped if top > bottom; outside the image where there is padding. And the
        ``results``.

    Raises:
        ValueError: If the transform does something else.
    """
    results = transform(dict(img=_coordinates(size).copy(), img_shape=size, ori_shape=size))
    out = np.asarray(results['img']).astype(np.float64)
    if np.abs(np.median(out[..., 2]) - GRAY) > 1:
        raise ValueError(
            'the transform changes pixel values: coverage is for transforms that crop, scale, pad '
            'or flip; leave out color changes and normalization'
        )
    edges = []
    for axis, length in enumerate(size):
        n = out.shape[axis]
        # The mean over the other axis averages the dither away. Padding is outside the middle.
        middle = [slice(m // 4, m - m // 4) for m in out.shape[:2]]
        plane = out[..., axis][tuple(middle)] / 255 * length
        position = np.arange(n)[middle[axis]] + 0.5
        slope, start = np.polyfit(position, plane.mean(1 - axis), 1)
        across = plane.mean(axis)
        drift = np.polyfit(np.arange(len(across)), across, 1)[0] * out.shape[1 - axis]
        if abs(drift) > 0.05 * length or n < 4:
            raise ValueError(
                'the transform is not a crop along the axes of the image (a rotation, or an output '
                'of a few pixels?)'
            )
        edges.append((start, start + slope * n))
    return np.array(edges), results


def box_fractions(
    box: Sequence[float], edges: np.ndarray, mask: np.ndarray | None = None
) -> tuple[float, float]:
    """Fractions of a box that a crop shows and a mask leaves visible, exact to the sub-pixel.

    Args:
        box: Left, top, right, bottom.
        edges: From :func:`trace_crop`.
        mask: ``(h, w)`` boolean over the crop, True = masked. ``None``: nothing is masked.
    """
    mask = np.zeros((1, 1), bool) if mask is None else mask
    overlaps = []
    for axis, (low, high) in enumerate(((box[1], box[3]), (box[0], box[2]))):
        start, stop = edges[axis]
        lines = np.linspace(start, stop, mask.shape[axis] + 1)  # between the cells of the mask
        first, last = np.minimum(lines[:-1], lines[1:]), np.maximum(lines[:-1], lines[1:])
        overlap = np.minimum(last, high) - np.maximum(first, low)
        overlaps.append(overlap.clip(min=0) / (high - low))
    rows, columns = overlaps
    return float(rows.sum() * columns.sum()), float(rows @ ~mask @ columns)


def object_coverage(
    objects: Sequence[Objects],
    transform: Callable,
    mask_ratio: float = 0.75,
    draws: int = 100,
    seed: int = 0,
) -> Coverage:
    """Average what random crops and masks keep of each object.

    Args:
        transform: See :func:`trace_crop`. If it also makes a ``mask``, that one is applied;
            otherwise a fraction ``mask_ratio`` of what the crop keeps is hidden, the expectation
            of any mask that treats all places alike.
        draws: Random crops of each image.
        seed: Of the random numbers; their global state is left as it was.
    """
    kept, visible, image, area = [], [], [], []
    for i, one in enumerate(objects):
        fractions = np.zeros((2, len(one.boxes)))
        for draw in range(draws):
            with seeded_rng(sample_seed(seed, draw, i)):
                edges, results = trace_crop(transform, one.size)
            pairs = np.array([box_fractions(b, edges, results.get('mask')) for b in one.boxes]).T
            if 'mask' not in results:
                pairs[1] = pairs[0] * (1 - mask_ratio)
            fractions += pairs / draws
        kept += list(fractions[0])
        visible += list(fractions[1])
        image += [i] * len(one.boxes)
        left, top, right, bottom = one.boxes.T
        area += list((right - left) * (bottom - top) / (one.size[0] * one.size[1]))
    return Coverage(*(np.array(values) for values in (kept, visible, image, area)))


@lru_cache(maxsize=4)
def _coordinates(size: tuple[int, int]) -> np.ndarray:
    """``(H, W, 3)`` uint8, as any transform accepts: row, column, and a constant.

    256 levels are coarse for coordinates. Random rounding makes them exact on average: what is
    wrong in one pixel cancels over a row or column.
    """
    centers = ((np.arange(side) + 0.5) / side for side in size)
    position = np.stack(np.meshgrid(*centers, indexing='ij'), axis=-1)
    dither = np.random.default_rng(0).random(position.shape)
    levels = np.floor(position * 255 + dither).astype(np.uint8)
    return np.dstack([levels, np.full((*size, 1), GRAY, np.uint8)])


__getattr__ = old_names(__name__)
