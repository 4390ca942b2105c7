"""Whether the images of a COCO json are there, and of the size that it says."""

import os
from collections import Counter
from collections.abc import Callable, Sequence

from simmim_mm._text import EVERYWHERE
from simmim_mm.datasets.image_folder import is_inside
from simmim_mm.datasets.image_headers import Header, read_headers
from simmim_mm.datasets.readers.coco_report import KEPT, REFUSED, REPAIRED, CocoReport

_MOST_LISTED = 200_000  # files and folders that are looked through for a missing image


def check_files(
    report: CocoReport,
    folder: str,
    root: str = '',
    load: Callable[[str], tuple[int, int]] | None = None,
    trust: bool = False,
) -> None:
    """Look for the images, and compare their sizes; sizes that are missing are filled in.

    Args:
        folder: Where the file names start from.
        root: Where to look for images that are not there.
        trust: Whether file names may lead out of both.
        load: Gives height and width of an image as it is loaded, which may ignore its EXIF
            orientation. ``None``: the orientation is applied.
    """
    images = report.coco.images
    _replace_backslashes(report, folder)
    names = [image['file_name'] for image in images]
    paths = [os.path.join(folder, name) for name in names]
    roots = [] if trust else [root for root in (folder, root) if root]
    outside = [p for p in paths if roots and not any(is_inside(p, root) for root in roots)]
    if outside:
        advice = (
            'move them into it and correct their file_name, or, if you trust the file, write '
            'trust_annotations=True at the top level of the config'
        )
        report.add(REFUSED, outside, len(images), f'images are outside of {roots[-1]}', advice)
        return
    headers = read_headers(paths)
    missing = [n for n, p, h in zip(names, paths, headers) if h.fault and not os.path.isfile(p)]
    if missing:
        advice = _where_it_is(missing[0], folder, root, len(missing) < len(images))
        report.add(REFUSED, missing, len(images), f'images are not in {folder or "."}', advice)
        return
    bad = [f'{p} ({h.fault})' for p, h in zip(paths, headers) if h.fault]
    advice = 'repair them, or take them out of the json'
    report.add(REFUSED, bad, len(images), 'images cannot be read', advice)
    _compare_sizes(report, paths, headers, load)
    twice = [name for name, n in Counter(names).items() if n > 1]
    report.add(
        KEPT,
        twice,
        len(images),
        'file names are listed more than once',
        'each entry is used without the objects of the others; keep one, and give all objects its '
        'image_id',
    )


def _replace_backslashes(report: CocoReport, folder: str) -> None:
    changed = []
    for image in report.coco.images:
        name = image['file_name']
        if '\\' in name and not os.path.isfile(os.path.join(folder, name)):
            image['file_name'] = name.replace('\\', '/')
            changed.append(name)
    total = len(report.coco.images)
    report.add(REPAIRED, changed, total, 'file names have backslashes', 'read as slashes')


def _compare_sizes(
    report: CocoReport,
    paths: Sequence[str],
    headers: Sequence[Header],
    load: Callable[[str], tuple[int, int]] | None,
) -> None:
    images = report.coco.images
    with_objects = {annotation['image_id'] for annotation in report.coco.annotations}
    upright: dict[str, bool] = {}  # whether orientations are applied, by the file's ending
    filled, wrong, some_turned = [], [], False
    for image, path, header in zip(images, paths, headers):
        if header.fault:
            continue
        size = (header.width, header.height)
        if header.turned and size[0] != size[1]:
            ending = os.path.splitext(path)[1].lower()
            if ending not in upright:
                upright[ending] = load is None or tuple(load(path)) == size
            size = size[::-1] if upright[ending] else size
        given = (image.get('width'), image.get('height'))
        if given == size and type(given[0]) is type(given[1]) is int:
            continue
        is_number = all(isinstance(x, (int, float)) and x > 0 for x in given)
        if is_number and given != size and image['id'] in with_objects:
            turned = ', turned by its EXIF orientation' if header.turned else ''
            some_turned |= header.turned
            wrong.append(
                f'{image["file_name"]}: {given[0]}x{given[1]} in the json, '
                f'{size[0]}x{size[1]} as loaded{turned}'
            )
        else:
            filled.append(image['file_name'])
        image.update(width=size[0], height=size[1])  # what boxes are compared with
    what = 'images have no width and height as whole numbers'
    report.add(REPAIRED, filled, len(images), what, 'taken from the files')
    advice = 'boxes and sizes must be of the image as loaded: '
    if some_turned:
        advice += (
            'if the boxes fit the upright image, write its width and height into the json; if the '
            "unturned one, load the images by dict(type='LoadImageFromFile', "
            f"color_type='color_ignore_orientation') {EVERYWHERE}"
        )
    else:
        advice += (
            'if the boxes fit the image, write its width and height into the json; if not, take '
            'the images that the json was made for, or scale the boxes'
        )
    what = 'images have another size than the json says'
    report.add(REFUSED, wrong, len(images), what, advice)


def _where_it_is(name: str, folder: str, root: str, is_one_of_some: bool) -> str:
    """Where an image of that name lies, as an advice; others may lie where they should."""
    stem = os.path.splitext(os.path.basename(name))[0]
    near, listed = '', 0
    for start in dict.fromkeys(path for path in (folder, root) if path):
        for place, folders, files in os.walk(start):
            folders.sort()
            listed += len(folders) + len(files)
            for file in files:
                if os.path.splitext(file)[0] == stem:
                    path = os.path.join(place, file)
                    if path.endswith(f'/{name}'):
                        return f"set data_prefix.img to '{path[: -len(name)]}', where they are"
                    near = near or path
            if listed > _MOST_LISTED:
                break
    advice = 'set data_prefix.img to the folder that the file names start from'
    if is_one_of_some:
        advice = 'add them to it, or take them and their annotations out of the json'
    if not near:
        return advice
    new = os.path.relpath(near, folder or '.')
    return f'{near} is there: write file_name as {new!r}, not {name!r}, or {advice}'
