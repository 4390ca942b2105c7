"""A folder of images as tar files, which disks and networks read several times as fast."""

import hashlib
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from mmengine import fileio

from simmim_mm._text import one_line
from simmim_mm.checkpoint.file_backend import AtomicLocalBackend, remove_stale_files, written_whole
from simmim_mm.curation.cache import shrink
from simmim_mm.curation.files import check_outside, keep_settings, map_files
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.image_folder import list_images
from simmim_mm.datasets.shards import (
    MANIFEST,
    Record,
    Shard,
    index_path,
    is_address,
    read_index,
    read_manifest,
    relative_to,
    write_manifest,
)

_SETTINGS = 'settings.json'
_RESERVED = re.compile(r'[%#\\\x00-\x1f\x7f\ud800-\udfff]')


class WrittenShards(NamedTuple):
    """What has been written.

    Attributes:
        shards: All that are there.
        left_out: Path, relative to the folder, and reason of each image that cannot be read.
        done_before: Number of shards that an earlier call had finished.
    """

    shards: list[Shard]
    left_out: list[tuple[str, str]]
    done_before: int


def shard_folder(
    root: str,
    out: str,
    images: int = 1000,
    short_side: int | None = None,
    quality: int = 95,
    labels: bool = False,
    seed: int | None = 0,
    workers: int = 0,
    tick: Callable[[int], None] | None = None,
) -> WrittenShards:
    """Write the images below ``root`` to tars in ``out``, with an index of each and a manifest.

    The same images and settings give the same bytes. A call that was interrupted is continued:
    shards that are there are left alone. The tars are those of WebDataset: an image is
    ``cats/1.jpg``, its class, if wanted, ``cats/1.cls``.

    Args:
        root: A folder, searched as :class:`ImageDataset` does, or shards.
        out: Another folder.
        images: Number in a shard.
        short_side: Write smaller copies, see :func:`cache_folder`. None: the files as they are,
            which are not decoded.
        quality: Of JPEGs that become smaller, 1 to 95.
        labels: The first folder in an image's path is its class.
        seed: Of the order in which images are spread over the shards. None: that of their paths.
        workers: Processes; 0 works in this one.
        tick: Called with the number of shards after each of them.

    Raises:
        DataError: If there is no image, or ``out`` holds shards of other images or settings.
        ValueError: If ``images``, ``short_side`` or ``quality`` is out of range.
    """
    if images < 1 or (short_side or 1) < 1 or not 1 <= quality <= 95:
        raise ValueError(
            f'images and short_side must be at least 1 and quality 1 to 95, got {images}, '
            f'{short_side} and {quality}'
        )
    files, folder = list_images(root), Path(out)
    if not is_address(files[0]):
        check_outside(out, root)
    names = _portable_names([relative_to(file, root) for file in files], is_address(files[0]))
    classes = sorted({name.partition('/')[0] for name in names}) if labels else []
    if labels and (len(classes) < 2 or any('/' not in name for name in names)):
        raise DataError(
            f'--labels: {root} should hold at least two folders, one for each class, and no images '
            'beside them'
        )
    settings = dict(images=images, short_side=short_side, quality=quality, labels=labels, seed=seed)
    source = hashlib.sha256('\n'.join(names).encode()).hexdigest()
    keep_settings(
        folder / _SETTINGS,
        {**settings, 'number': len(files), 'sha256_of_names': source},
        'shards of other images or settings',
    )
    remove_stale_files(folder)

    order = np.arange(len(files))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(order)
    parts = np.array_split(order, -(-len(files) // images))
    tasks = [
        (f'{folder}/shard-{i:06d}.tar', [(files[j], names[j]) for j in part])
        for i, part in enumerate(parts)
    ]
    write = partial(_write_shard, short_side=short_side, quality=quality, classes=classes)
    shards, left_out, done_before = [], [], 0
    for shard, failed, was_there in map_files(write, tasks, workers, at_once=1):
        shards.append(shard)
        left_out += failed
        done_before += was_there
        if tick is not None:
            tick(len(tasks))
    if not any(shard.images for shard in shards):
        raise DataError(f'none of the {len(files)} images in {root} can be read: {left_out[0]}')
    text = write_manifest(shards, settings=settings, classes=classes, left_out=len(left_out))
    AtomicLocalBackend().put_text(text, folder / MANIFEST)
    return WrittenShards(shards, left_out, done_before)


def check_shards(
    root: str, workers: int = 0, tick: Callable[[int], None] | None = None
) -> dict[str, str]:
    """Read local shards from end to end, and compare them with their manifest.

    Args:
        root: Folder with the manifest.
        workers: Processes; 0 works in this one.
        tick: Called with the number of shards after each of them.

    Returns:
        Name to what is wrong of each shard that is missing or has changed; with the names of the
        images in it that are damaged.
    """
    shards = read_manifest(root)
    wrong = {}
    for shard, problem in zip(shards, map_files(partial(_check, root), shards, workers, at_once=1)):
        if problem:
            wrong[shard.name] = problem
        if tick is not None:
            tick(len(shards))
    return wrong


def _check(root: str, shard: Shard) -> str:
    path = Path(root, shard.name)
    if not path.is_file():
        return 'is missing'
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() == shard.sha256:
        return ''
    if path.stat().st_size != shard.bytes:
        return f'has {path.stat().st_size} bytes instead of {shard.bytes}'
    damaged = []
    with path.open('rb') as file:
        for record in read_index(str(path), shard.index_sha256):
            file.seek(record.start)
            if zlib.crc32(file.read(record.size)) != record.crc:
                damaged.append(record.name)
    return f'has changed: {", ".join(damaged) or "between the images"}'


def _portable_names(paths: Sequence[str], in_shards: bool) -> list[str]:
    """Names for a tar, of which no two are one to WebDataset: it ends a name at its first dot."""
    names, keys = [], set()
    for path in paths:
        name = path.partition('/')[2].lstrip('/') if in_shards else path.replace(os.sep, '/')
        if not in_shards:
            name = _RESERVED.sub(lambda found: f'%{ord(found[0]):02X}', name)
        folder, slash, base = name.rpartition('/')
        stem, ending = os.path.splitext(base)
        key = f'{folder}{slash}{stem.replace(".", "%2E")}'
        if key in keys:  # a.jpg and a.png
            key += f'%2E{ending[1:]}'
        keys.add(key)
        names.append(key + ending)
    return names


class _Hashed:
    """A file to write to, with the SHA-256 of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sha256 = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self.file.write(data)

    def tell(self) -> int:
        return self.file.tell()


def _write_shard(
    task: tuple[str, Sequence[tuple[str, str]]],
    short_side: int | None,
    quality: int,
    classes: Sequence[str],
) -> tuple[Shard, list[tuple[str, str]], bool]:
    """A shard, what is left out of it, and whether it was there before."""
    path, files = task
    index = Path(index_path(path))
    if index.exists():
        content = index.read_bytes()
        about = json.loads(content.partition(b'\n')[0].removeprefix(b'#'))
        if os.path.exists(path) and os.path.getsize(path) == about['bytes']:
            failed = [tuple(entry) for entry in about.pop('left_out')]
            return Shard(**about, index_sha256=hashlib.sha256(content).hexdigest()), failed, True
    records, failed = [], []
    with written_whole(path) as file:
        hashed = _Hashed(file)
        with tarfile.open(fileobj=hashed, mode='w', format=tarfile.GNU_FORMAT) as tar:  # type: ignore[call-overload]
            for source, name in files:
                try:
                    content, name = _content(source, name, short_side, quality)
                except Exception as error:  # decoders raise everything
                    failed.append((name, getattr(error, 'strerror', None) or one_line(error)))
                    continue
                start = _add(tar, name, content)
                records.append(Record(name, start, len(content), zlib.crc32(content)))
                if classes:
                    label = str(classes.index(name.partition('/')[0]))
                    _add(tar, f'{os.path.splitext(name)[0]}.cls', label.encode())
    shard = Shard(
        os.path.basename(path), len(records), os.path.getsize(path), hashed.sha256.hexdigest(), ''
    )
    about = {**shard._asdict(), 'left_out': failed}
    del about['index_sha256']
    text = f'#{json.dumps(about)}\n' + ''.join(record.line() for record in records)
    AtomicLocalBackend().put(text.encode(), index)
    return shard._replace(index_sha256=hashlib.sha256(text.encode()).hexdigest()), failed, False


def _content(source: str, name: str, short_side: int | None, quality: int) -> tuple[bytes, str]:
    content = fileio.get(source)
    if not content:
        raise ValueError('empty file (0 bytes)')
    if short_side is not None:
        small, ending = shrink(content, short_side, quality)
        if small is not None:
            content = small
            if ending == '.png' and not name.lower().endswith('.png'):
                name = f'{os.path.splitext(name)[0]}.png'
    return content, name


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a file that says nothing of who wrote it and when; gives where its bytes begin."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
    return tar.offset - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
