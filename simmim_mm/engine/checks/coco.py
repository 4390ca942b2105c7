"""COCO annotations of detectors."""

import os.path as osp
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.readers.coco import load_coco
from simmim_mm.datasets.readers.coco_contents import check_contents
from simmim_mm.datasets.readers.coco_report import (
    KEPT,
    LEFT_OUT,
    REFUSED,
    REPAIRED,
    CocoReport,
)

_MASK_TRANSFORMS = ('LoadAnnotations', 'LoadPanopticAnnotations')
_NO_MASKS = (
    'correct or delete these annotations, for this config trains or scores masks; if most have '
    'none, take a config without masks (Faster R-CNN, RetinaNet)'
)


def check_coco(
    dataset: Any,
    pipeline: Sequence[dict],
    place: str,
    with_masks: bool = False,
    trust: bool = False,
    heads: Sequence[str] = (),
) -> CocoReport:
    """Check the json of a ``CocoDataset``, and its images.

    Args:
        dataset: The data set, not yet initialized.
        pipeline: Configs of its transforms, which say whether masks are trained.
        place: Where it stands in the config.
        with_masks: Whether masks are scored.
        trust: Whether images may lie outside of ``data_root``.
        heads: Where the heads that count classes stand in the config, for messages.

    Returns:
        What was found and is still to be logged, with the contents as they are to be read.

    Raises:
        DataError: If it cannot be trained on, or its categories are not the classes.
    """
    report = CocoReport(
        dataset.ann_file,
        load_coco(dataset.ann_file, annotations=('image_id', 'category_id', 'bbox')),
    )
    classes = list(dataset.metainfo['classes'])
    _match_categories(report, classes, place, heads)
    steps = [step for step in pipeline if step['type'].split('.')[-1] in _MASK_TRANSFORMS]
    masks = _NO_MASKS if with_masks or any(step.get('with_mask') for step in steps) else ''
    folder, root = dataset.data_prefix['img'], dataset.data_root
    check_contents(report, folder, root, _loader(pipeline), masks, trust)
    if not report.refused:
        _check_filter(report, dataset, place)
    report.refuse()
    return report


def _loader(pipeline: Sequence[dict]) -> Callable[[str], tuple[int, int]] | None:
    """Gives height and width of an image as the pipeline loads it."""
    steps = [s for s in pipeline if s['type'].split('.')[-1] in ('LoadImageFromFile', 'LoadImage')]
    if not steps:
        return None
    step = TRANSFORMS.build(steps[0])
    return lambda path: step(dict(img_path=path))['img'].shape[:2]


def _match_categories(
    report: CocoReport, classes: list[str], place: str, heads: Sequence[str]
) -> None:
    """Bring the categories into the order of the classes, by which mmdet has to number them."""
    categories, annotations = report.coco.categories, report.coco.annotations
    names = {category['id']: category['name'] for category in categories}
    unique = list(dict.fromkeys(names.values()))
    used = Counter(names.get(a['category_id']) for a in annotations)
    repeated = [repr(name) for name, n in Counter(classes).items() if n > 1]
    key = f'{place}.metainfo.classes'
    counts = ' and '.join(f'{head}.num_classes' for head in heads) or 'num_classes of the heads'
    once = tuple(dict.fromkeys(classes))
    advice = f'set {key} to {once}, in all data sets, and {counts} to {len(once)}'
    what = 'classes are listed more than once in the config'
    report.add(REFUSED, repeated, len(classes), what, advice)
    unknown = [i for i, a in enumerate(annotations) if a['category_id'] not in names]
    what = 'annotations have a category_id that no category of the file has'
    advice = f'correct them, or add the category to the ids that there are: {first_few(names)}'
    report.add_annotations(REFUSED, unknown, what, advice, 'category_id')
    if unknown:
        return
    unlisted = [name for name in used if name not in classes]
    lost = [f'{used[name]} of {name!r}' for name in unlisted]
    advice = (
        f'set {key}, now {tuple(classes)}, to {tuple(unique)}, in all data sets, and {counts} to '
        f'{len(unique)}; to go without {first_few(map(repr, unlisted))}, delete the annotations of '
        'these categories from the json'
    )
    what = 'categories with objects are not listed in the config, and mmdet would leave them out'
    report.add(REFUSED, lost, len(used), what, advice)
    if repeated or lost:
        return
    first = {category['name']: category for category in reversed(categories)}
    missing = [name for name in classes if name not in first]
    order = [name for name in unique if name in classes]
    twice = [name for name in unique if list(names.values()).count(name) > 1]
    empty = [name for name in order if not used[name]]

    def note(outcome: str, found: list[str], what: str, advice: str) -> None:
        report.add(outcome, list(map(repr, found)), len(names), what, advice, usual=True)

    note(REPAIRED, twice, 'names of categories are given twice', 'read as one category')
    what = 'classes are no category of the file'
    advice = (
        'added as categories without objects, from which nothing is learned; take those that are '
        'not meant out of metainfo.classes'
    )
    report.add(REPAIRED, list(map(repr, missing)), len(classes), what, advice)
    if order != [name for name in classes if name in first]:
        what = 'categories are in another order than the classes of the config'
        note(REPAIRED, order, what, 'numbered as in metainfo.classes')
    advice = 'they are not scored' if place.startswith('val') else 'they are not learned'
    note(KEPT, empty, 'classes have no objects in this file', advice)

    free = (i for i in count(1) if i not in names)
    first.update({name: dict(id=next(free), name=name) for name in missing})
    for annotation in annotations:
        annotation['category_id'] = first[names[annotation['category_id']]]['id']
    others = [category for category in categories if category['name'] not in classes]
    categories[:] = [first[name] for name in classes] + others


def _check_filter(report: CocoReport, dataset: Any, place: str) -> None:
    """Note the images that mmdet leaves out of the training."""
    images, filter_cfg = report.coco.images, dict(dataset.filter_cfg or {})
    if dataset.test_mode or not filter_cfg:
        return
    with_objects = {annotation['image_id'] for annotation in report.coco.annotations}
    empty = filter_cfg.get('filter_empty_gt', False)
    smallest = filter_cfg.get('min_size', 0)
    left_out = [i for i in images if empty and i['id'] not in with_objects]
    small = [i for i in images if min(i['width'], i['height']) < smallest]

    def note(found: list[dict], what: str, setting: str) -> None:
        names = [image['file_name'] for image in found]
        outcome, happens = LEFT_OUT, 'left out of the training'
        if len(found) == len(images):
            outcome, happens = REFUSED, 'all are left out, so that nothing would be trained'
        advice = f'{happens}; {place}.filter_cfg.{setting} keeps them'
        report.add(outcome, names, len(images), what, advice)

    note(left_out, 'images have no objects', 'filter_empty_gt=False')
    note(small, f'images are smaller than {smallest} pixels', 'min_size=0')


def check_evaluator(cfg: Config, json_file: str, place: str) -> None:
    """Check that the validation is scored against the json that it reads."""
    for evaluator in evaluators(cfg):
        other = evaluator.get('ann_file')
        if other and osp.abspath(other) != osp.abspath(json_file):
            raise DataError(
                f'val_evaluator.ann_file is {other}, but {place} reads {json_file}: set both to '
                'the same file'
            )


def evaluators(cfg: Config) -> list[dict]:
    """Configs of the metrics of the validation."""
    found = cfg.get('val_evaluator') or []
    return [found] if isinstance(found, dict) else list(found)
