"""COCO's json: images, and the annotations and categories of the objects in them."""

import gc
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mmengine import fileio

from simmim_mm.datasets.errors import DataError, error_at, first_few

Entries = list[dict[str, Any]]
_IDS = (int, str, float)
# What an id is of, what else tells entries apart, and which field of the annotations has it.
_OWNERS = dict(
    images=('image', 'file_name', 'image_id'), categories=('category', 'name', 'category_id')
)
_TYPES = dict(id=_IDS, image_id=_IDS, category_id=_IDS, file_name=str)


class CocoFile(NamedTuple):
    """Contents of a json, in the order of the file.

    Attributes:
        images: Each with the fields that were asked for, and maybe others.
        annotations: One for each object; ``bbox`` is left, top, width and height in pixels.
        categories: Empty if none were asked for and the file has none.
        others: What else the file has, such as ``info``.
        is_utf8: Whether pycocotools can decode it: UTF-8 without a byte order mark.
        matched: Annotations whose ``image_id`` or ``category_id`` is now the number or text that
            the images and categories have: by field, their indices.
    """

    images: Entries
    annotations: Entries
    categories: Entries
    others: dict[str, Any]
    is_utf8: bool = True
    matched: dict[str, list[int]] = {}


def load_coco(
    path: str | Path,
    images: Sequence[str] = ('id', 'file_name'),
    annotations: Sequence[str] = ('image_id', 'category_id'),
    categories: Sequence[str] = ('id', 'name'),
    strict: bool = True,
) -> CocoFile:
    """Read a json from any storage that ``mmengine.fileio`` knows.

    Args:
        path: The file.
        images: Fields that each image must have.
        annotations: Fields that each annotation must have.
        categories: Fields that each category must have; none: there need not be any.
        strict: Whether empty lists, and annotations of images that are not listed, are errors.

    Raises:
        DataError: If the file is missing or is not COCO's, lacks a field, or has an id twice.
    """
    path = str(path)
    try:
        content = fileio.get(path)
    except FileNotFoundError:
        raise DataError(f'there is no file {path}: check ann_file and data_root') from None
    except IsADirectoryError:
        raise DataError(f'{path} is a folder: name the json file in it') from None
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error}') from error
    try:
        with collector_paused():
            data = json.loads(content)
    except (ValueError, RecursionError) as error:  # the second of nested lists without end
        problem = f'is not JSON ({error})' if content else 'is empty'
        raise DataError(f'{path} {problem}; export it again as COCO json') from error
    fields = dict(images=images, annotations=annotations, categories=categories)
    with error_at(path), collector_paused():
        lists = {key: _entries(data, key, needed, strict) for key, needed in fields.items()}
        others = {key: data[key] for key in data if key not in fields}
        matched = {
            key: _match_ids(lists['annotations'], key, lists[owners])
            for key, owners in dict(image_id='images', category_id='categories').items()
            if key in annotations and 'id' in fields[owners]
        }
        is_utf8 = json.detect_encoding(content) == 'utf-8'
        coco = CocoFile(**lists, others=others, is_utf8=is_utf8, matched=matched)
        known = {image['id'] for image in coco.images}
        unknown = [
            f'{a.get("id", "?")} (image_id {a["image_id"]!r})'
            for a in coco.annotations
            if a['image_id'] not in known
        ]
        if unknown and strict:
            raise DataError(
                f'annotations of images that it does not list: ids {first_few(unknown)}; delete '
                'them, or add the images'
            )
    return coco


def _match_ids(annotations: Entries, key: str, owners: Entries) -> list[int]:
    """Give annotations the ids of ``owners`` that are the same but for being text or a number."""
    known = {owner['id'] for owner in owners}
    same = {str(number): number for number in known}
    if len(same) < len(known):  # 7 and "7" are two
        return []
    changed = []
    for i, annotation in enumerate(annotations):
        value = annotation[key]
        if value not in known and str(value) in same:
            annotation[key] = same[str(value)]
            changed.append(i)
    return changed


@contextmanager
def collector_paused() -> Iterator[None]:
    """Do not look for garbage while millions of objects are made, none of which is any.

    Each pass would go through all that are there; it takes more than half of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _entries(data: Any, key: str, fields: Sequence[str], strict: bool) -> Entries:
    entries = data.get(key) if isinstance(data, dict) else None
    if not fields and entries is None:
        return []
    if not isinstance(entries, list):
        raise DataError(
            f'it has no list {key!r}: it is not a COCO annotation file, '
            'which has images, annotations and categories'
        )
    if fields and strict and not entries:
        raise DataError(f'it has no {key}: the list is empty; is it the right file?')
    for i, entry in enumerate(entries):
        if lacking := [f for f in fields if not isinstance(entry, dict) or f not in entry]:
            raise DataError(f'{key}[{i}] has no {", ".join(lacking)}: export it again, with that')
        for field, types in _TYPES.items():
            if field in fields and not isinstance(entry[field], types):
                kind = 'text' if types is str else 'a number or text'
                raise DataError(f'{key}[{i}].{field} is {entry[field]!r}: it must be {kind}')
    ids = Counter(entry['id'] for entry in entries if 'id' in fields)
    if twice := [i for i, count in ids.items() if count > 1]:
        kind, name, user = _OWNERS.get(key, ('annotation', 'id', ''))
        alike = [str(e.get(name, '?')) for e in entries if e['id'] == twice[0]]
        is_same = len(set(alike)) == 1 and key == 'images'
        same = 'if both are one image, keep one of them; else ' if is_same else ''
        correct = f', and correct {user} of the annotations of those that get a new one'
        raise DataError(
            f'{kind} ids are given to several entries: {first_few(twice)} (the first to '
            f'{first_few(alike, 3)}); {same}give each entry an id of its own'
            f'{correct if user else ""}'
        )
    return entries
