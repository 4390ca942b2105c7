"""Detection data in COCO's format."""

from pathlib import Path

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.readers.coco import load_coco
from simmim_mm.datasets.readers.coco_boxes import is_placeholder
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


def read_coco(train: Split, val: Split) -> LabeledData:
    """Look through two jsons; what is wrong with their entries shows when the run is checked.

    Raises:
        DataError: If a json is not COCO's or empty, or the validation has a category that the
            training has not.
    """
    files = load_coco(train.labels), load_coco(val.labels)
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
