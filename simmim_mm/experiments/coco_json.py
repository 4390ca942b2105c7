"""Looking through detection data in COCO's format."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simmim_mm.datasets.errors import DataError
from simmim_mm.experiments.labeled_data import LabeledData, Split, existing, first_existing

_JSONS = ('annotations/instances_{}*.json', 'annotations/*{}*.json', '{}.json', '{}/*.json')
_FOLDERS = ('images/{}', '{}2017', '{}', 'images', '.')


def find_coco(
    root: str | Path,
    train_ann: str | None = None,
    val_ann: str | None = None,
    images: str | None = None,
) -> tuple[Split, Split]:
    """Find jsons and image folders by the usual names.

    Args:
        root: Folder of the data.
        train_ann: Json of the training part, if it is not to be looked for.
        val_ann: Json of the validation part.
        images: Folder of all images.

    Raises:
        DataError: If one is not found.
    """
    root = existing(Path(root), 'data folder')
    splits = []
    for part, given in (('train', train_ann), ('val', val_ann)):
        option = f'--{part}-ann'
        if given:
            path = existing(Path(given), option)
        else:
            names = [name.format(part) for name in _JSONS]
            path = first_existing(root, names, f'json of the {part} part', option)
        splits.append(Split(_image_folder(root, part, path, images), path))
    return splits[0], splits[1]


def _image_folder(root: Path, part: str, path: Path, given: str | None) -> Path:
    """The folder in which the first image of the json is."""
    entries = load_coco(path)['images']
    tried = [given] if given else [root / name.format(part) for name in _FOLDERS] + [path.parent]
    for folder in map(Path, tried):
        if (folder / entries[0]['file_name']).is_file():
            return folder
    raise DataError(
        f'{path} names {entries[0]["file_name"]}, which is not in any of '
        f'{", ".join(map(str, tried))}: give the folder with --images'
    )


def read_coco(train: Split, val: Split, folder: str | Path) -> LabeledData:
    """Look through two jsons.

    mmdet numbers the categories by their order in each json. Where the order differs, or the
    validation lacks some, its json is written anew, with the categories of the training, and that
    one is to be used.

    Args:
        folder: Where it is written.

    Raises:
        DataError: If a json is not COCO's or empty, or the validation has a category that the
            training has not.
    """
    contents = [load_coco(split.labels) for split in (train, val)]
    names, val_names = ([c['name'] for c in content['categories']] for content in contents)
    if unknown := [name for name in val_names if name not in names]:
        raise DataError(
            f'{val.labels} has categories that {train.labels} has not: {", ".join(unknown)} '
            f'(the training has {", ".join(names)})'
        )
    notes = []
    if val_names != names:
        val = Split(val.images, _align(contents, val.labels, Path(folder)))
        notes.append(f'The categories of training and validation differ: using {val.labels}.')
    masks = all(a.get('segmentation') for content in contents for a in content['annotations'])
    counts = tuple(len(content['images']) for content in contents)
    return LabeledData(tuple(names), train, val, counts, with_masks=masks, notes=notes)


def load_coco(path: Path) -> dict[str, Any]:
    """Contents of a json.

    Raises:
        DataError: If it is not in COCO's format, or has no images, annotations or categories.
    """
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f'{path} is not JSON: {error}') from None
    lists = ('images', 'annotations', 'categories')
    for key in lists:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{path} is not in COCO's format: no list '{key}'")
        if not content[key]:
            raise DataError(f'{path} is empty: no {key}')
    return content


def _align(contents: Sequence[dict[str, Any]], source: Path, folder: Path) -> Path:
    """Write the second json with the categories of the first."""
    train, val = contents
    ids = {category['name']: category['id'] for category in train['categories']}
    new = {category['id']: ids[category['name']] for category in val['categories']}
    annotations = [dict(a, category_id=new[a['category_id']]) for a in val['annotations']]
    content = dict(val, categories=train['categories'], annotations=annotations)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{source.stem}_aligned.json'
    path.write_text(json.dumps(content))
    return path


__all__ = ['find_coco', 'load_coco', 'read_coco']
