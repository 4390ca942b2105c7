"""COCO annotations of detectors."""

import json
import os.path as osp
from collections import Counter

from mmengine.config import Config

from simmim_mm.datasets.errors import DataError
from simmim_mm.engine.checks.common import folder_of, join, some

_MASK_TRANSFORMS = ('LoadAnnotations', 'LoadPanopticAnnotations')


def check_coco(dataset: dict, classes: list[str], place: str) -> str:
    """Check the json of one ``CocoDataset`` and that its images are there; returns its path."""
    path = join(dataset.get('data_root'), dataset.get('ann_file'))
    images_folder = folder_of(dataset, 'img', place)
    content = _read_coco(path, place)
    where = f'{place}: {path}'
    _check_categories(content, classes, where)
    _check_objects(content, dataset, where)
    missing = [
        image['file_name']
        for image in content['images']
        if not osp.isfile(osp.join(images_folder, image['file_name']))
    ]
    if missing:
        raise DataError(
            f'{where} lists images that are not in {images_folder}: {some(missing)}; set '
            'data_prefix.img to the folder that the file names start from'
        )
    return path


def _read_coco(path: str, place: str) -> dict:
    if not osp.isfile(path):
        raise DataError(f'{place}: there is no file {path}; set data_root and ann_file')
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except (ValueError, OSError) as error:
        problem = 'is empty' if not osp.getsize(path) else f'is no JSON ({error})'
        raise DataError(f'{place}: {path} {problem}; export it again as COCO json') from error
    needed = dict(
        images=('id', 'file_name', 'height', 'width'),
        annotations=('id', 'image_id', 'category_id', 'bbox', 'area'),
        categories=('id', 'name'),
    )
    for key, fields in needed.items():
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise DataError(f'{place}: {path} has no list {key!r}: it is no COCO annotation file')
        if not entries:
            raise DataError(f'{place}: {path} has no {key}: there is nothing to learn or to score')
        for i, entry in enumerate(entries):
            lacking = [field for field in fields if field not in entry]
            if lacking:
                raise DataError(f'{place}: {path}: {key}[{i}] has no {", ".join(lacking)}')
        twice = [i for i, n in Counter(entry['id'] for entry in entries).items() if n > 1]
        if twice:
            raise DataError(f'{place}: {path}: ids of {key} are not unique: {some(twice)}')
    return content


def _check_categories(content: dict, classes: list[str], where: str) -> None:
    names = {c['id']: c['name'] for c in content['categories']}
    used = Counter(names.get(a['category_id'], a['category_id']) for a in content['annotations'])
    lost = {name: n for name, n in used.items() if name not in classes}
    if lost:
        objects = some([f'{name!r} ({n} objects)' for name, n in lost.items()])
        raise DataError(
            f'{where} has objects of categories that the config does not list and mmdet would '
            f'leave out: {objects}; set metainfo.classes, now {tuple(classes)}, to '
            f'{tuple(names.values())}'
        )
    # mmdet numbers the classes in the order of the json, whatever the order in the config.
    order = [name for name in names.values() if name in classes]
    if order != classes:
        raise DataError(
            f'{where} has the categories {tuple(order)}, but the config the classes '
            f'{tuple(classes)}: set metainfo.classes to those, in that order'
        )


def _check_objects(content: dict, dataset: dict, where: str) -> None:
    images = {image['id'] for image in content['images']}
    astray = [a['id'] for a in content['annotations'] if a['image_id'] not in images]
    if astray:
        raise DataError(f'{where}: annotations of images that it does not list: ids {some(astray)}')
    if all(a['bbox'][2] < 1 or a['bbox'][3] < 1 for a in content['annotations']):
        raise DataError(
            f'{where}: every box is less than a pixel wide or high; boxes are [x, y, width, height]'
        )
    steps = [s for s in dataset.get('pipeline', []) if s['type'].split('.')[-1] in _MASK_TRANSFORMS]
    if any(step.get('with_mask') for step in steps):
        without = [a['id'] for a in content['annotations'] if not a.get('segmentation')]
        if without:
            raise DataError(
                f'{where}: {len(without)} of {len(content["annotations"])} annotations have no '
                f'segmentation (ids {some(without)}), but the config trains masks: take one for '
                'boxes (Faster R-CNN, RetinaNet)'
            )


def check_evaluator(cfg: Config, json_file: str, place: str) -> None:
    """Check that the validation is scored against the json that it reads."""
    evaluators = cfg.get('val_evaluator') or []
    for evaluator in [evaluators] if isinstance(evaluators, dict) else evaluators:
        other = evaluator.get('ann_file')
        if other and osp.abspath(other) != osp.abspath(json_file):
            raise DataError(
                f'val_evaluator.ann_file is {other}, but {place} reads {json_file}: set both alike'
            )
