"""Crowds, masks and other fields of the objects in a COCO json."""

from collections import Counter
from typing import Any

import numpy as np

from simmim_mm._stack import installed_version
from simmim_mm.datasets.image_folder import spread
from simmim_mm.datasets.readers.coco_boxes import as_box, is_positive
from simmim_mm.datasets.readers.coco_outlines import is_polygon
from simmim_mm.datasets.readers.coco_report import LEFT_OUT, REFUSED, REPAIRED, CocoReport

_MOST_DECODED = 1000  # masks, of all that are packed
_CROWD_WORDS = {'none': 0, '': 0, '0': 0, 'false': 0, '1': 1, 'true': 1}


def check_crowds(report: CocoReport) -> None:
    """Look for objects that are not trained on because they are crowds, or to be ignored."""
    _repair_crowds(report)
    annotations = report.coco.annotations
    crowds = [i for i, a in enumerate(annotations) if a.get('iscrowd')]
    what = 'objects are marked as crowds (iscrowd=1)'
    if crowds and len(crowds) == len(annotations):
        advice = (
            'crowds are neither trained on nor scored, so that nothing would be left; write '
            'iscrowd=0 for all single objects, whether their masks are polygons or run lengths'
        )
        report.add_annotations(REFUSED, crowds, what, advice)
    else:
        usual = 2 * len(crowds) < len(annotations)
        advice = 'left out of training and scoring; write iscrowd=0 for all single objects'
        report.add_annotations(LEFT_OUT, crowds, what, advice, usual=usual)
    ignored = [i for i, a in enumerate(annotations) if a.get('ignore')]
    what = "objects have 'ignore' set"
    advice = "left out of the training, but scored; delete 'ignore' to train on them"
    report.add_annotations(LEFT_OUT, ignored, what, advice)


def check_masks(report: CocoReport, advice: str) -> None:
    """Look for objects without a mask, and for masks that pycocotools does not take.

    Args:
        report: Of the file.
        advice: What to do where there are no masks.
    """
    sizes = {image['id']: [image.get('height'), image.get('width')] for image in report.coco.images}
    without, nested, shortened, others, broken = [], [], [], [], []
    decoded = set(spread(len(report.coco.annotations), _MOST_DECODED))
    for i, annotation in enumerate(report.coco.annotations):
        shape: Any = annotation.get('segmentation')
        if isinstance(shape, list) and shape and not any(isinstance(p, list) for p in shape):
            annotation['segmentation'] = shape = [shape]
            nested.append(i)
        if isinstance(shape, dict):
            if not is_run_length(shape):
                without.append(i)
            elif list(shape['size']) != sizes.get(annotation['image_id'], shape['size']):
                others.append(i)
            elif not _is_decodable(shape, i in decoded):
                broken.append(i)
            continue
        shape = shape if isinstance(shape, list) else []
        polygons = [p for p in shape if is_polygon(p)]
        if not polygons:
            without.append(i)
        elif len(polygons) < len(shape):
            annotation['segmentation'] = polygons
            shortened.append(i)

    def note(outcome: str, found: list[int], what: str, advice: str) -> None:
        report.add_annotations(outcome, found, what, advice, 'segmentation')

    note(REPAIRED, nested, 'polygons are a flat list', 'read as [[x, y, ...]]')
    what = 'masks have polygons of fewer than three points'
    note(REPAIRED, shortened, what, 'read without these polygons')
    what = (
        'annotations have no segmentation that is a polygon of 3 points (6 numbers, no text) or '
        'more, or run lengths with size and counts'
    )
    note(REFUSED, without, what, advice)
    what = 'run-length masks cannot be decoded'
    note(REFUSED, broken, what, 'write them with pycocotools.mask.encode, or as polygons')
    what = 'run-length masks are not of the size of their image'
    size = sizes[report.coco.annotations[others[0]]['image_id']] if others else []
    advice = 'encode them again at [height, width] of the image as loaded'
    advice += f', {size} for the first' if all(size) else ''
    note(REFUSED, others, what, advice)


def repair_fields(report: CocoReport) -> None:
    """Fill in ``area``, ids and ``info`` as pycocotools and mmdet need them."""
    _repair_areas(report)
    annotations = report.coco.annotations
    ids = [a.get('id') for a in annotations]
    counts = Counter(map(str, ids))
    missing = [i for i, known in enumerate(ids) if known is None]
    bad = [
        i
        for i, known in enumerate(ids)
        if known is not None and (type(known) is not int or known == 0 or counts[str(known)] > 1)
    ]
    advice = 'all are numbered from 1'
    report.add_annotations(REPAIRED, missing, 'annotations have no id', advice)
    if '0' in counts:
        advice += ', for pycocotools counts a match with the id 0 as missed'
    what = 'annotations have an id that is 0, repeated or no whole number'
    report.add_annotations(REPAIRED, bad, what, advice)
    if missing or bad:
        for number, annotation in enumerate(annotations, 1):
            annotation['id'] = number
    version = installed_version('pycocotools')
    if 'info' not in report.coco.others and version in ('2.0.9', '2.0.10'):
        what = f"files have no 'info', without which pycocotools {version} does not score"
        report.add(REPAIRED, [report.path], 1, what, 'added; pycocotools 2.0.11 does without')
        report.coco.others['info'] = {}


def _repair_crowds(report: CocoReport) -> None:
    annotations = report.coco.annotations
    missing, text, unclear = [], [], []
    for i, annotation in enumerate(annotations):
        value = annotation.get('iscrowd')
        if value in (0, 1):
            continue
        number = _CROWD_WORDS.get(str(value).lower())
        (unclear if number is None else missing if value is None else text).append(i)
        if number is not None:
            annotation['iscrowd'] = number
    report.add_annotations(REPAIRED, missing, 'annotations have no iscrowd', 'read as 0')
    what, advice = 'annotations have an iscrowd that is text', 'read as the number that it means'
    report.add_annotations(REPAIRED, text, what, advice)
    what, advice = 'annotations have an iscrowd that is not 0 or 1', 'write 0, or 1 for a crowd'
    report.add_annotations(REFUSED, unclear, what, advice, 'iscrowd')


def _repair_areas(report: CocoReport) -> None:
    annotations = report.coco.annotations
    images = {image['id']: image for image in report.coco.images}
    bad = [
        i
        for i, a in enumerate(annotations)
        if not is_positive(a.get('area')) and all(x > 0 for x in as_box(a['bbox'])[2:])
    ]
    what, advice = 'annotations have no area above 0', 'taken from the mask, or else the box'
    report.add_annotations(REPAIRED, bad, what, advice, 'area')
    for i in bad:
        annotations[i]['area'] = _area(annotations[i], images[annotations[i]['image_id']])


def _area(annotation: dict, image: dict) -> float:
    """Of the mask, as COCO has it, or of the box."""
    shape = annotation.get('segmentation')
    if isinstance(shape, list):
        shape = [polygon for polygon in shape if is_polygon(polygon)]
    height, width = image.get('height'), image.get('width')
    if not (shape and height and width) or (isinstance(shape, dict) and not is_run_length(shape)):
        return float(annotation['bbox'][2] * annotation['bbox'][3])
    return float(_coco_mask().area(to_run_length(shape, height, width)))


def is_run_length(shape: dict) -> bool:
    """Whether it has the fields of run lengths."""
    return isinstance(shape.get('counts'), (list, str)) and bool(shape.get('size'))


def _is_decodable(shape: dict, thorough: bool) -> bool:
    """Whether run lengths fill their image; those that are packed are only decoded if asked to."""
    height, width = shape['size']
    if isinstance(shape['counts'], list):
        return set(map(type, shape['counts'])) <= {int} and sum(shape['counts']) == height * width
    try:
        return not thorough or _coco_mask().decode(shape).shape == (height, width)
    except (ValueError, TypeError):
        return False


def decode_segmentation(shape: list | dict, height: int, width: int) -> np.ndarray:
    """COCO polygons or run lengths to bool ``(height, width)``."""
    return _coco_mask().decode(to_run_length(shape, height, width)).astype(bool)


def to_run_length(shape: list | dict, height: int, width: int) -> dict:
    """COCO polygons or run lengths to compressed run lengths."""
    coco_mask = _coco_mask()
    if isinstance(shape, list):
        return coco_mask.merge(coco_mask.frPyObjects(shape, height, width))
    is_packed = not isinstance(shape['counts'], list)
    return shape if is_packed else coco_mask.frPyObjects(shape, height, width)


def _coco_mask() -> Any:
    import pycocotools.mask  # its types leave dicts and lists of codes out

    return pycocotools.mask
