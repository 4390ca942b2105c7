"""Detection data in COCO's format."""

from pathlib import Path
from typing import TypeAlias

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.readers.coco import CocoFile, load_coco
from simmim_mm.datasets.readers.coco_boxes import is_placeholder
from simmim_mm.experiments.labeled_data import LabeledData, Split, existing, first_existing

_JSONS = ('annotations/instances_{}*.json', 'annotations/*{}*.json', '{}.json', '{}/*.json')
_Loaded: TypeAlias = tuple[Split, CocoFile]
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
    train, val = _load(root, train_ann, val_ann, images)
    return train[0], val[0]


def read_coco(train: Split, val: Split) -> LabeledData:
    """Look through two jsons; what is wrong with their entries shows when the run is checked.

    Raises:
        DataError: If a json is not COCO's or empty, or the validation has a category that the
            training has not.
    """
    return _look_through((train, load_coco(train.labels)), (val, load_coco(val.labels)))


def find_and_read_coco(
    root: str | Path,
    train_ann: str | None = None,
    val_ann: str | None = None,
    images: str | None = None,
) -> LabeledData:
    """:func:`read_coco` of what :func:`find_coco` finds; each json is read once."""
    return _look_through(*_load(root, train_ann, val_ann, images))


def _load(
    root: str | Path, train_ann: str | None, val_ann: str | None, images: str | None
) -> tuple[_Loaded, _Loaded]:
    root = existing(Path(root), 'data folder')

    def load(part: str, given: str | None) -> _Loaded:
        path = _find_json(root, part, given)
        file = load_coco(path)
        folder = _image_folder(root, part, path, file.images[0]['file_name'], images)
        return Split(folder, path), file

    return load('train', train_ann), load('val', val_ann)


def _look_through(*parts: _Loaded) -> LabeledData:
    (train, val), files = zip(*parts)
    names, val_names = (dict.fromkeys(c['name'] for c in file.categories) for file in files)
    if unknown := [name for name in val_names if name not in names]:
        raise DataError(
            f'{val.labels} has categories that {train.labels} has not: {first_few(unknown)} '
            f'(the training has {first_few(names, 20)})'
        )
    objects = [a for file in files for a in file.annotations if not is_placeholder(a)]
    without = sum(not annotation.get('segmentation') for annotation in objects)
    notes = []
    if 0 < without < len(objects):
        notes.append(f'{without} of {len(objects)} objects have no mask: boxes are trained alone.')
    counts = (len(files[0].images), len(files[1].images))
    return LabeledData(tuple(names), train, val, counts, with_masks=not without, notes=notes)


def _find_json(root: Path, part: str, given: str | None) -> Path:
    option = f'--{part}-ann'
    if given:
        return existing(Path(given), option)
    names = [name.format(part) for name in _JSONS]
    return first_existing(root, names, f'json of the {part} part', option)


def _image_folder(root: Path, part: str, path: Path, name: str, given: str | None) -> Path:
    """The folder that holds the first image of the json, called ``name``."""
    tried = [given] if given else [root / name.format(part) for name in _FOLDERS] + [path.parent]
    for folder in map(Path, tried):
        if (folder / name).is_file():
            return folder
    raise DataError(
        f'{path} names {name}, which is not in any of {", ".join(map(str, tried))}: give the '
        'folder with --images'
    )
