"""Detection data in COCO's format."""

import json
from pathlib import Path

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.readers.coco import CocoFile, load_coco
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
    """The folder that holds the first image of the json."""
    name = load_coco(path).images[0]['file_name']
    tried = [given] if given else [root / name.format(part) for name in _FOLDERS] + [path.parent]
    for folder in map(Path, tried):
        if (folder / name).is_file():
            return folder
    raise DataError(
        f'{path} names {name}, which is not in any of {", ".join(map(str, tried))}: give the '
        'folder with --images'
    )


def read_coco(train: Split, val: Split, folder: str | Path) -> LabeledData:
    """Look through two jsons.

    mmdet numbers the categories by their order in each json. Where the order differs, or the
    validation lacks some, its json is written anew, with the categories of the training.

    Args:
        folder: Where it is written.

    Raises:
        DataError: If a json is not COCO's or empty, or the validation has a category that the
            training has not.
    """
    files = load_coco(train.labels), load_coco(val.labels)
    names, val_names = ([c['name'] for c in file.categories] for file in files)
    if unknown := [name for name in val_names if name not in names]:
        raise DataError(
            f'{val.labels} has categories that {train.labels} has not: {first_few(unknown)} '
            f'(the training has {first_few(names, 20)})'
        )
    notes = []
    if val_names != names:
        val = Split(val.images, _align(*files, Path(folder) / f'{val.labels.stem}_aligned.json'))
        notes.append(f'The categories of training and validation differ: using {val.labels}.')
    masks = all(a.get('segmentation') for file in files for a in file.annotations)
    counts = (len(files[0].images), len(files[1].images))
    return LabeledData(tuple(names), train, val, counts, with_masks=masks, notes=notes)


def _align(train: CocoFile, val: CocoFile, path: Path) -> Path:
    """Write the second json with the categories of the first."""
    ids = {category['name']: category['id'] for category in train.categories}
    new = {category['id']: ids[category['name']] for category in val.categories}
    annotations = [dict(a, category_id=new[a['category_id']]) for a in val.annotations]
    content = dict(images=val.images, annotations=annotations, categories=train.categories)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**val.others, **content}))
    return path
