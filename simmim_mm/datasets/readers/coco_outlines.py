"""Boxes around the polygons of masks, which tell how a file writes its boxes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from simmim_mm.datasets.image_folder import spread

_MOST = 2000  # objects that are looked at
_LEAST = 5  # objects with a polygon, below which nothing is concluded
_FIT = 0.9  # of them, for a reading of the boxes
_SLACK = 2.0, 0.05  # pixels, and fraction of the object's longer side, that a box may be off

# Of left, top, width and height: what a box says in the formats of others, with its name and what
# to write in its place.
_READINGS: dict[str, tuple[str, Callable[..., list]]] = {
    'center and size': (
        '[x - width / 2, y - height / 2, width, height]',
        lambda x, y, w, h: [x + w / 2, y + h / 2, w, h],
    ),
    'two corners': (
        '[left, top, right - left, bottom - top]',
        lambda x, y, w, h: [x, y, x + w, y + h],
    ),
    'rows before columns': ('[left, top, width, height]', lambda x, y, w, h: [y, x, h, w]),
}


def outlines(annotations: Sequence[dict[str, Any]]) -> np.ndarray:
    """``(n, 4)``, left, top, width and height of the polygons of objects; NaN where there are none.

    Of many objects, some are looked at, spread over the file.
    """
    found = np.full((len(annotations), 4), np.nan)
    for i in spread(len(annotations), _MOST):
        shape = annotations[i].get('segmentation')
        parts = [part for part in shape if is_polygon(part)] if isinstance(shape, list) else []
        if parts:
            points = np.concatenate([np.reshape(part, (-1, 2)) for part in parts])
            found[i] = *points.min(0), *np.ptp(points, 0)
    return found


def format_by_outlines(boxes: np.ndarray, around: np.ndarray) -> tuple[str, str] | None:
    """What boxes are that are not left, top, width and height, and what to write instead.

    Args:
        boxes: ``(n, 4)``, finite.
        around: What :func:`outlines` gives of the same objects; NaN are left out.

    Returns:
        None if the boxes are in COCO's format, or nobody knows.
    """
    known = np.isfinite(around).all(1)
    boxes, around = boxes[known], around[known]
    slack = _SLACK[0] + _SLACK[1] * around[:, 2:].max(1, initial=0, keepdims=True)

    def fit(expected: np.ndarray) -> float:
        return float((np.abs(boxes - expected) <= slack).all(1).mean())

    if len(boxes) < _LEAST or fit(around) > 1 - _FIT:
        return None
    for name, (advice, reading) in _READINGS.items():
        if fit(np.stack(reading(*around.T), 1)) > _FIT:
            return f'boxes are written as {name}: only so they fit their masks', f'write {advice}'
    return None


def overlap_with_outlines(boxes: np.ndarray, around: np.ndarray) -> np.ndarray:
    """``(n,)``, intersection over union; NaN where there is no polygon."""
    ends = np.minimum(boxes[:, :2] + boxes[:, 2:], around[:, :2] + around[:, 2:])
    common = (ends - np.maximum(boxes[:, :2], around[:, :2])).clip(min=0).prod(1)
    both = boxes[:, 2:].prod(1) + around[:, 2:].prod(1) - common
    return common / np.where(both > 0, both, 1)


def is_polygon(points: Any) -> bool:
    """Whether it is a list of three points or more."""
    return (
        isinstance(points, list)
        and len(points) >= 6
        and len(points) % 2 == 0
        and set(map(type, points)) <= {int, float}
    )
