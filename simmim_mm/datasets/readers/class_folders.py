"""Images in a folder for each class: the layout of ImageNet."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine import fileio

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.image_folder import IMAGE_EXTENSIONS, list_images


class ClassFolders(NamedTuple):
    """Names of the classes, sorted; image files, class by class; index of each one's class."""

    classes: tuple[str, ...]
    paths: list[str]
    labels: list[int]


def load_class_folders(
    root: str | Path, extensions: Sequence[str] = IMAGE_EXTENSIONS
) -> ClassFolders:
    """List the images below each folder in ``root``; hidden folders are left out.

    Raises:
        DataError: If it is missing, has fewer than two class folders, or one without images.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f'no folder {root}: it should hold a folder of images for each class')
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith('.'))
    if len(classes) < 2:
        raise DataError(f'{root} has {len(classes)} class folders: at least 2 are needed')
    check_class_folders(str(root), classes, extensions)
    found = [list_images(str(root / name), extensions) for name in classes]
    labels = [label for label, files in enumerate(found) for _ in files]
    return ClassFolders(tuple(classes), [path for files in found for path in files], labels)


def check_class_folders(root: str, folders: Collection[str], extensions: Sequence[str]) -> None:
    """Look for an image in each folder, on any storage, and in none further than to the first.

    Raises:
        DataError: If a folder has none.
    """
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
