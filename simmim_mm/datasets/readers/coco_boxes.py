"""Boxes of a COCO json that are none, are written otherwise, or lie outside their image."""

from typing import Any

import numpy as np

from simmim_mm.datasets.readers.coco_outlines import (
    format_by_outlines,
    outlines,
    overlap_with_outlines,
)
from simmim_mm.datasets.readers.coco_report import KEPT, LEFT_OUT, REFUSED, REPAIRED, CocoReport

_FROM_CENTERS = 'write [x - width / 2, y - height / 2, width, height]'
_BEYOND = 'as left, top, width and height they reach beyond their image'
_MISSED = 'left out of the training, and scored as objects that were missed'
_NO_BOX = [np.nan] * 4
# Fractions of boxes.
_FEW = 0.05  # with fewer that reach beyond their image, they are in COCO's format
_SUSPICIOUS = 10  # boxes beyond the right border
_MANY_APART = 5  # boxes
_MANY = 0.25  # with more that lie outside of it, these are not the images


def check_boxes(report: CocoReport) -> None:
    """Look for boxes that are none, or not as COCO writes them, or outside their image."""
    _drop_placeholders(report)
    annotations = report.coco.annotations
    if not annotations:
        return
    boxes = np.array([as_box(a['bbox']) for a in annotations], float)
    by_image = {
        image['id']: [
            size if is_positive(size := image.get(key)) else np.nan for key in ('width', 'height')
        ]
        for image in report.coco.images
    }
    sizes = np.array([by_image.get(a['image_id'], _NO_BOX[:2]) for a in annotations], float)
    left: Any = np.isfinite(boxes).all(1)

    def note(faulty: Any, outcome: str, what: str, advice: str, **kwargs) -> None:
        report.add_annotations(outcome, np.flatnonzero(faulty), what, advice, 'bbox', **kwargs)

    texts = any(
        isinstance(box := annotations[i]['bbox'], list) and any(isinstance(x, str) for x in box)
        for i in np.flatnonzero(~left)
    )
    note(
        ~left,
        REFUSED,
        'boxes are not four finite numbers',
        'write [left, top, width, height] in pixels, '
        f'{"as numbers without quotes, " if texts else ""}and delete annotations that have no box',
    )
    around = outlines(annotations)
    if found := _other_format(boxes[left], sizes[left], around[left]):
        note(left, REFUSED, *found)
        return
    if (beyond := _beyond_as_centers(boxes[left], sizes[left])) >= _SUSPICIOUS:
        what = (
            f'boxes may be center and size, for {beyond} reach beyond the right border, and none '
            'lies at the left or upper one'
        )
        note(left, KEPT, what, f'if they are, {_FROM_CENTERS}')
    negative = left & (boxes[:, 2:] < 0).any(1)
    advice = 'write [left, top, width, height] from the upper left corner, or delete them'
    note(negative, REFUSED, 'boxes have a negative width or height', advice)
    left &= ~negative
    inside = _inside(boxes, sizes)
    outside = left & (inside < 0.5)
    if outside.all() or outside.sum() > max(2, _MANY * len(boxes)):
        width, height = sizes[outside][0]
        advice = (
            f'scale, shift or turn them as the images were changed since ({width:g} x {height:g} '
            'pixels now, the first), or let data_prefix.img name the images on which they were '
            'drawn; if no image was changed, correct image_id'
        )
        note(outside, REFUSED, 'boxes lie mostly outside their image', advice)
    else:
        advice = f'{_MISSED}; correct or delete them'
        note(outside & (inside == 0), LEFT_OUT, 'boxes lie outside their image', advice)
        what = 'boxes lie mostly outside their image'
        advice = 'trained on and scored as they are; correct or delete them'
        note(outside & (inside > 0), KEPT, what, advice)
    left &= ~outside
    beyond = left & (inside < 0.9)
    what, usual = 'boxes reach beyond their image', beyond.mean() <= _FEW
    advice = 'the part outside is scored, too; clip them to the image'
    note(beyond, KEPT, what, advice, usual=bool(usual))
    thin = left & (boxes[:, 2:] < 1).any(1)
    what = 'boxes are less than a pixel wide or high'
    if thin.all():
        note(thin, REFUSED, what, 'write [left, top, width, height] in pixels')
    else:
        note(thin, LEFT_OUT, what, f'{_MISSED}; correct or delete them')
    again = _repeated(annotations, boxes)
    usual = again.mean() <= _FEW
    advice = 'each counts as an object of its own; delete the repetitions'
    note(again, KEPT, 'annotations repeat class and box of another', advice, usual=bool(usual))
    left &= ~thin
    apart = left & (overlap_with_outlines(boxes, around) < 0.5)
    if apart.sum() > max(_MANY_APART, 0.5 * np.isfinite(around).all(1).sum()):
        advice = 'both are used as they are; were they made for the same images, in the same size?'
        note(apart, KEPT, 'boxes do not lie around their masks', advice)


def _repeated(annotations: list[dict], boxes: np.ndarray) -> np.ndarray:
    """``(n,)``, whether an annotation says what an earlier one does."""
    seen: set[tuple] = set()
    again = np.zeros(len(boxes), bool)
    for i, (annotation, box) in enumerate(zip(annotations, boxes.tolist())):
        key = (annotation['image_id'], annotation.get('category_id'), *box)
        again[i] = key in seen
        seen.add(key)
    return again


def _drop_placeholders(report: CocoReport) -> None:
    """Take out annotations that say that there is no object."""
    annotations = report.coco.annotations
    empty = [i for i, annotation in enumerate(annotations) if is_placeholder(annotation)]
    what, advice = (
        'annotations have an empty box',
        'taken out, as no object is there; the image stays',
    )
    report.add_annotations(REPAIRED, empty, what, advice, 'bbox')
    for i in reversed(empty):
        del annotations[i]


def is_placeholder(annotation: dict) -> bool:
    """Whether it says that there is no object."""
    return annotation.get('bbox') in ([], [0, 0, 0, 0]) and not annotation.get('segmentation')


def as_box(value: Any) -> list:
    """The value, or four NaN if it is not four numbers."""
    is_box = isinstance(value, list) and len(value) == 4 and set(map(type, value)) <= {int, float}
    return value if is_box else _NO_BOX


def is_positive(value: Any) -> bool:
    """Whether it is a number above 0."""
    return isinstance(value, (int, float)) and value > 0


def _inside(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """``(n,)``, fraction of each box in its image; 1 if area or size are unknown."""
    ends = np.minimum(boxes[:, :2] + boxes[:, 2:], sizes)
    shown = (ends - np.maximum(boxes[:, :2], 0)).clip(min=0).prod(1)
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.nan_to_num(shown / boxes[:, 2:].prod(1), nan=1.0)


def _other_format(
    boxes: np.ndarray, sizes: np.ndarray, around: np.ndarray
) -> tuple[str, str] | None:
    """What boxes are that are not ``[left, top, width, height]``, and what to write instead.

    Args:
        boxes, sizes: Of each object, and its image.
        around: What :func:`outlines` gives of the objects.
    """
    if not len(boxes):
        return None
    if np.mean((boxes >= 0).all(1) & (boxes <= 1).all(1)) > 0.9:
        pixels = np.tile(sizes, 2)
        if not np.nanmax(around, initial=0) > 1:  # so are the masks
            around = around * pixels
        found = format_by_outlines(boxes * pixels, around)
        found = found or _format_by_borders(boxes, np.ones_like(sizes))
        coco = (
            'write [left, top, width, height] in pixels, from the upper left corner (not the '
            'center, as YOLO does)'
        )
        then = found[1] if found else coco
        advice = f'multiply them by its width and height; {then}'
        return 'boxes are fractions of their image', advice
    return format_by_outlines(boxes, around) or _format_by_borders(boxes, sizes)


def _format_by_borders(boxes: np.ndarray, sizes: np.ndarray) -> tuple[str, str] | None:
    """The same, from boxes that would reach beyond the borders of their image."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if np.mean(_inside(boxes, sizes) < 0.9) < _FEW:
        return None
    limits = sizes * 1.01 + np.minimum(sizes / 50, 1)
    if np.mean((second > first).all(1) & (second <= limits).all(1)) > 0.99:
        return (
            f'boxes look like two corners: {_BEYOND}',
            'write [left, top, right - left, bottom - top]',
        )
    from_center = np.hstack([first - second / 2, second])
    if np.mean(_inside(from_center, sizes) > 0.98) > 0.99:
        return (
            f'boxes look like center and size: {_BEYOND}',
            _FROM_CENTERS,
        )
    return None


def _beyond_as_centers(boxes: np.ndarray, sizes: np.ndarray) -> int:
    """How many boxes reach beyond the right border; 0 unless all are sound as center and size.

    Of boxes in COCO's format, objects that the left border cuts begin there: some of any file in
    which the right border cuts some.
    """
    first, second = boxes[:, :2], boxes[:, 2:]
    slack = np.minimum(1, 0.02 * second)
    if not ((first >= second / 2 - slack) & (first + second / 2 <= sizes + slack)).all():
        return 0
    return int((first + second > sizes + np.maximum(1, 0.02 * second))[:, 0].sum())
