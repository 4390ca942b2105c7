"""COCO annotations of detectors."""

import os.path as osp
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from simmim_mm.datasets.errors import DataError, error_at, first_few
from simmim_mm.datasets.readers.coco import CocoFile, load_coco

_MASK_TRANSFORMS = ('LoadAnnotations', 'LoadPanopticAnnotations')


def check_coco(dataset: Any, pipeline: Sequence[dict]) -> None:
    """Check the json of a ``CocoDataset``, and that its images are there.

    Args:
        dataset: The data set, not yet initialized.
        pipeline: Configs of its transforms, which say whether masks are trained.

    Raises:
        DataError: If it cannot be trained on, or its categories are not the classes in their order.
    """
    coco = load_coco(
        dataset.ann_file,
        images=('id', 'file_name', 'height', 'width'),
        annotations=('id', 'image_id', 'category_id', 'bbox', 'area'),
    )
    with error_at(dataset.ann_file):
        _check_categories(coco, list(dataset.metainfo['classes']))
        _check_objects(coco, pipeline)
        folder, names = dataset.data_prefix['img'], [image['file_name'] for image in coco.images]
        if missing := [name for name in names if not osp.isfile(osp.join(folder, name))]:
            raise DataError(
                f'lists images that are not in {folder}: {first_few(missing)}; set '
                'data_prefix.img to the folder that the file names start from'
            )


def _check_categories(coco: CocoFile, classes: list[str]) -> None:
    names = {c['id']: c['name'] for c in coco.categories}
    used = Counter(names.get(a['category_id'], a['category_id']) for a in coco.annotations)
    lost = {name: n for name, n in used.items() if name not in classes}
    if lost:
        objects = first_few(f'{name!r} ({n} objects)' for name, n in lost.items())
        raise DataError(
            f'has objects of categories that the config does not list and mmdet would leave out: '
            f'{objects}; set metainfo.classes, now {tuple(classes)}, to {tuple(names.values())}'
        )
    # mmdet numbers the classes in the order of the json, whatever the order in the config.
    order = [name for name in names.values() if name in classes]
    if order != classes:
        raise DataError(
            f'has the categories {tuple(order)}, but the config the classes {tuple(classes)}: set '
            'metainfo.classes to those, in that order'
        )


def _check_objects(coco: CocoFile, pipeline: Sequence[dict]) -> None:
    if all(a['bbox'][2] < 1 or a['bbox'][3] < 1 for a in coco.annotations):
        raise DataError(
            'every box is less than a pixel wide or high; boxes are [x, y, width, height]'
        )
    steps = [step for step in pipeline if step['type'].split('.')[-1] in _MASK_TRANSFORMS]
    if any(step.get('with_mask') for step in steps):
        without = [a['id'] for a in coco.annotations if not a.get('segmentation')]
        if without:
            raise DataError(
                f'{len(without)} of {len(coco.annotations)} annotations have no segmentation '
                f'(ids {first_few(without)}), but the config trains masks: take one for boxes '
                '(Faster R-CNN, RetinaNet)'
            )


def check_evaluator(cfg: Config, json_file: str, place: str) -> None:
    """Check that the validation is scored against the json that it reads."""
    evaluators = cfg.get('val_evaluator') or []
    for evaluator in [evaluators] if isinstance(evaluators, dict) else evaluators:
        other = evaluator.get('ann_file')
        if other and osp.abspath(other) != osp.abspath(json_file):
            raise DataError(
                f'val_evaluator.ann_file is {other}, but {place} reads {json_file}: set both to '
                'the same file'
            )
