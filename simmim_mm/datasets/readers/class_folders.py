"""Images in a folder for each class: the layout of ImageNet."""

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine import fileio

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.image_folder import IMAGE_EXTENSIONS, list_images
from simmim_mm.datasets.shards import are_shards, relative_to

_PARTS = {'train', 'training', 'val', 'valid', 'validation', 'test', 'testing'}


class ClassFolders(NamedTuple):
    """Names of the classes, sorted; image files, class by class; index of each one's class."""

    classes: tuple[str, ...]
    paths: list[str]
    labels: list[int]


def load_class_folders(
    root: str | Path, extensions: Sequence[str] = IMAGE_EXTENSIONS
) -> ClassFolders:
    """List the images below each folder in ``root``; hidden folders are left out.

    In shards, the first folder in the name of an image is its class.

    Raises:
        DataError: If it is missing, has fewer than two class folders, or one without images.
    """
    if are_shards(str(root)):
        return _classes_of_shards(str(root), extensions)
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f'no folder {root}: it should hold a folder of images for each class')
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith('.'))
    if len(classes) < 2:
        raise DataError(f'{root} has {len(classes)} class folders: at least 2 are needed')
    check_class_folders(str(root), classes, extensions)
    found = [list_images(root / name, extensions) for name in classes]
    labels = [label for label, files in enumerate(found) for _ in files]
    return ClassFolders(tuple(classes), [path for files in found for path in files], labels)


def _classes_of_shards(root: str, extensions: Sequence[str]) -> ClassFolders:
    paths = list_images(root, extensions)
    names = [relative_to(path, root).split('/')[1:] for path in paths]
    if loose := sum(len(name) < 2 for name in names):
        raise DataError(
            f'{loose} of {len(names)} images in the shards of {root} lie in no class folder'
        )
    classes = sorted({name[0] for name in names})
    if len(classes) < 2:
        raise DataError(f'the shards of {root} have {len(classes)} class: at least 2 are needed')
    number = {name: i for i, name in enumerate(classes)}
    return ClassFolders(tuple(classes), paths, [number[name[0]] for name in names])


def check_class_folders(root: str, folders: Collection[str], extensions: Sequence[str]) -> None:
    """Look for an image in each folder, on any storage, and in none further than to the first.

    Raises:
        DataError: If a folder has none, or they are no classes: hidden, or called train and val.
    """
    if hidden := [folder for folder in folders if folder.startswith('.')]:
        raise DataError(
            f'{root} holds hidden folders, which would be classes: {first_few(hidden)}; delete them'
        )
    if {folder.lower() for folder in folders} <= _PARTS:
        raise DataError(
            f'the class folders of {root} are {first_few(folders)}: these are parts of a data set, '
            'not classes; set data_root or data_prefix to one of them'
        )
    backend = fileio.get_file_backend(root, enable_singleton=True)
    endings = tuple(extension.lower() for extension in extensions)

    def has_image(folder: str) -> bool:
        path = backend.join_path(root, folder)
        files = backend.list_dir_or_file(path, list_dir=False, recursive=True)
        return any(file.lower().endswith(endings) for file in files)

    if empty := [folder for folder in folders if not has_image(folder)]:
        raise DataError(
            f'no image in {len(empty)} of {len(folders)} class folders of {root}: '
            f'{first_few(map(repr, empty))}; looked for {" ".join(sorted(extensions))}. '
            f'Fill or remove them'
        )


def nested_groups(paths: Iterable[str]) -> list[str]:
    """Class folders whose images all lie deeper, in several folders: these may be the classes.

    Args:
        paths: Of the images, relative to the folder that holds the class folders.
    """
    below: dict[str, set[str]] = {}
    for path in paths:
        folder, _, rest = path.replace(os.sep, '/').partition('/')
        below.setdefault(folder, set()).add(rest.partition('/')[0] if '/' in rest else '')
    return [name for name, inner in below.items() if '' not in inner and len(inner) > 1]
