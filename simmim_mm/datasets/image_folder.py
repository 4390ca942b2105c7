"""Find image files: all those below a folder, or those that a list names."""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from fnmatch import translate

import numpy as np
from mmengine import fileio

from simmim_mm._renamed import renamed_arguments
from simmim_mm.datasets.dicom import DICOM_EXTENSIONS
from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.shards import are_shards, list_shards, relative_to

IMAGE_EXTENSIONS = (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.webp', '.bmp', '.gif', '.tif', '.tiff'),
    *('.ppm', '.pgm', '.pbm', '.pnm', '.jp2', '.avif', '.npy'),
)
_MAX_CHECKED = 10_000


def spread(count: int, most: int | None) -> list[int]:
    """Indices of ``most`` of ``count`` things, equally far apart; of all if there are no more."""
    return np.unique(np.linspace(0, count - 1, min(count, most or count)).astype(int)).tolist()


def list_images(
    root: str | os.PathLike[str],
    extensions: Sequence[str] = IMAGE_EXTENSIONS,
    exclude: Sequence[str] = (),
) -> list[str]:
    """Paths of all image files below ``root``, sorted.

    A folder that holds DICOM files (``.dcm``) and no other images gives these. Of shards (tars,
    a folder of them, or its URL) it gives addresses, see :mod:`simmim_mm.datasets.shards`, in the
    order of the shards.

    Hidden files and folders (and so macOS' ``._*``) are left out. Symbolic links are followed, but
    each folder is entered once. A dangling link is listed, to be reported as a missing file. Pipes,
    sockets and devices are left out.

    Args:
        root: A folder, or shards.
        extensions: With the dot, in any case.
        exclude: Shell patterns for the paths, relative to ``root``, of files and folders to leave
            out; ``*`` also matches slashes.

    Raises:
        DataError: If ``root`` is not a folder or holds no image.
    """
    endings = tuple(extension.lower() for extension in extensions)
    excluded = re.compile('|'.join(translate(pattern) for pattern in exclude) or r'(?!)').match
    root = os.fspath(root)
    if are_shards(root):
        return _images_of_shards(root, endings, excluded)
    _check_folder(root)
    found: list[str] = []
    others: Counter = Counter()
    num_excluded = 0
    entered = set()
    folders = ['']
    while folders:
        folder = folders.pop()
        path = os.path.join(root, folder)
        status = os.stat(path)
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        below = []
        with os.scandir(path) as entries:
            for entry in entries:
                name = os.path.join(folder, entry.name)
                if entry.name.startswith('.'):
                    continue
                if excluded(name.replace(os.sep, '/')):
                    num_excluded += 1
                    continue
                kind = _kind(entry)
                if kind == 'folder':
                    below.append(name)
                elif kind == 'other' or not entry.name.lower().endswith(endings):
                    others[os.path.splitext(entry.name)[1].lower() or 'no extension'] += 1
                else:
                    found.append(name)
        folders += sorted(below, reverse=True)
    if not found:
        if tuple(extensions) == IMAGE_EXTENSIONS and any(others[kind] for kind in DICOM_EXTENSIONS):
            return list_images(root, DICOM_EXTENSIONS, exclude)
        raise DataError(_nothing_found(root, endings, others, num_excluded))
    return [os.path.join(root, name) for name in sorted(found)]


def _images_of_shards(root: str, endings: tuple[str, ...], excluded: Callable) -> list[str]:
    found = list_shards(root, endings)
    kept = [p for p in found if not excluded(relative_to(p, root).partition('/')[2])]
    if not kept:
        raise DataError(f'exclude leaves none of the {len(found)} images in the shards of {root!r}')
    return kept


def _kind(entry: os.DirEntry) -> str:
    """``'folder'``, ``'file'`` (a dangling link, too), or ``'other'``, whose reading may hang."""
    try:
        if entry.is_dir():
            return 'folder'
        missing = entry.is_symlink() and not os.path.exists(entry.path)
        return 'file' if missing or entry.is_file() else 'other'
    except OSError:  # a link to itself
        return 'file'


def _check_folder(root: str) -> None:
    if os.path.isdir(root):
        return
    if os.path.exists(root):
        raise DataError(
            f'data_root {root!r} is a file, not a folder; '
            f'pass the folder, or if it is a list of images pass it as ann_file'
        )
    if '://' in root:
        raise DataError(
            f'data_root {root!r} is a remote folder, which cannot be listed; '
            f'pass the paths of the images in an ann_file'
        )
    existing = os.path.abspath(root)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    raise DataError(
        f'no folder {root!r} ({existing!r} is the part of it that exists): name the folder with '
        'your images (data_root in a config)'
    )


def _nothing_found(root: str, endings: Sequence[str], others: Counter, num_excluded: int) -> str:
    if others:
        kinds = ', '.join(f'{n} x {kind}' for kind, n in others.most_common(5))
        there = f'{sum(others.values())} other files are there ({kinds})'
    else:
        there = 'no other files are there'
    if num_excluded:
        there += f', {num_excluded} files or folders were left out by exclude'
    return (
        f'no image in {root!r} or its subfolders: looked for {" ".join(endings)}; {there}. '
        'Name the folder with your images (data_root in a config), or their endings (extensions)'
    )


def is_inside(path: str, root: str) -> bool:
    """Whether a path, or an address, is below a folder by its name; links are not looked at."""
    plain = '..' not in path and ('://' in root or '://' not in path)
    if plain and path.startswith(root.rstrip('/') + '/'):  # of most of a million
        return True
    if '://' in root:
        return path.startswith(root.rstrip('/') + '/') and '..' not in path.split('/')
    return '://' not in path and os.path.abspath(path).startswith(
        os.path.join(os.path.abspath(root), '')
    )


def time_of_change(path: str) -> int:
    """Of a file's content, in ns; 0 of what is no local file."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


@renamed_arguments(max_missing_share='max_missing')
def read_list(ann_file: str, folder: str, max_missing: float, root: str = '') -> list[str]:
    """Paths in a text file, one a line; blank lines and lines that begin with ``#`` are ignored.

    Up to 10 000 of the files, evenly spread, are looked for now, so that a wrong folder shows
    before training; the others when they are loaded.

    Args:
        ann_file: The list, which may be remote (``s3://...``).
        folder: What paths in the list are relative to; absolute paths and addresses stay. Shards:
            each line is like ``shard-000000.tar/cats/1.jpg``.
        max_missing: Largest tolerated fraction of missing files.
        root: Folder that no path may leave; empty: they may lead anywhere.

    Raises:
        DataError: If the list is missing or empty, too many of its files are missing, or one lies
            outside of ``root``.
    """
    try:
        text = fileio.get(ann_file).decode('utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f'ann_file {ann_file!r} cannot be read ({error}); '
            f'give a text file with the path of one image a line'
        ) from error
    lines = [line.strip() for line in text.splitlines()]
    names = [line for line in lines if line and not line.startswith('#')]
    if not names:
        raise DataError(f'ann_file {ann_file!r} names no image; write the path of one a line')
    paths = [
        name if '://' in name or not folder else str(fileio.join_path(folder, name))
        for name in names
    ]
    if root:
        odd = (p for n, p in zip(names, paths) if n[0] == '/' or '..' in n or '://' in n)
        if outside := [path for path in odd if not is_inside(path, root)]:
            raise DataError(
                f'ann_file {ann_file!r} names {len(outside)} files outside of {root!r}: '
                f'{first_few(map(repr, outside), 3)}; leave data_root out where the list has whole '
                'paths, or set trust_annotations=True of the data set'
            )
    if any('.tar/' in name for name in names) and are_shards(folder):
        known = {relative_to(path, folder): path for path in list_images(folder)}
        paths = [known.get(name, path) for name, path in zip(names, paths)]
    checked = paths[:: -(-len(paths) // _MAX_CHECKED)]
    missing = [p for p in checked if '://' not in p and not os.path.exists(p)]
    if len(missing) > max_missing * len(checked):
        raise DataError(
            f'{len(missing)} of {len(checked)} files looked for in ann_file {ann_file!r} do not '
            f'exist: {first_few(map(repr, missing), 3)}. Its lines hold one path each and no '
            f'label, relative to data_root/data_prefix (now {folder!r}) or absolute'
        )
    return paths
