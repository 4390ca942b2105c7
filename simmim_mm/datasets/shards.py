"""Images in tar files ("shards", as WebDataset reads them), on disks and in remote storage.

An image in a shard has an address that stands wherever the path of a file does:

    shards:///data/shards/shard-000003.tar#1536+10321+5f0c2a9e/cats/1.jpg
    shards+s3://bucket/shards/shard-000003.tar#1536+10321+5f0c2a9e/cats/1.jpg

The numbers are the first byte, the number of bytes and their CRC-32, so that one ranged read
gives the image, in any process and in any order, and damage is noticed. An address without them is
looked up in the index of its shard. Order, shuffling and resuming are those of any data set: they
belong to the sampler.
"""

import hashlib
import json
import os
import posixpath
import re
import tarfile
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from mmengine.fileio import BaseStorageBackend, register_backend

from simmim_mm.datasets.errors import DataError, first_few

MANIFEST = 'manifest.json'
_FORMAT = 'simmim shards 1'
_REMOTE = ('http', 'https', 's3', 'gs', 'gcs', 'az', 'abfs', 'memory')
_EXTRA = "pip install 'simmim_mm[remote]' reads http(s) and s3"
_ADDRESS = re.compile(r'(?s)shards(?:\+|://)(.+?\.tar)(?:#(\d+)\+(\d+)(?:\+([0-9a-f]{8}))?)?/(.+)')
_NAME = re.compile(r'[^/\0\n]+\.tar')
_FAR = 1 << 62  # bytes: no file is as long
_BRACES = re.compile(r'\{(\d+)\.\.(\d+)\}')
_OPEN_FILES = 32  # for each thread
_THREADS = 16
T = TypeVar('T')
_DELAYS = (0.2, 0.5, 1.0, 2.0, 4.0)  # seconds before a remote read is tried again


class Record(NamedTuple):
    """An image in a shard.

    Attributes:
        name: Path in the tar.
        start: Its first byte in the shard.
        size: In bytes.
        crc: CRC-32 of them; None if it is not known.
    """

    name: str
    start: int
    size: int
    crc: int | None = None

    def line(self) -> str:
        """As a line of an index."""
        crc = '' if self.crc is None else f'{self.crc:08x}'
        return f'{self.start}\t{self.size}\t{crc}\t{self.name}\n'

    @classmethod
    def parse(cls, line: str) -> 'Record':
        """From a line of an index.

        Raises:
            ValueError: If it is none.
        """
        start, size, crc, name = line.rstrip('\n').split('\t', 3)
        record = cls(name, int(start), int(size), int(crc, 16) if crc else None)
        if not 0 <= record.start < _FAR or not 0 <= record.size < _FAR:
            raise ValueError(f'{record.size} bytes from byte {record.start} on')
        return record


class Shard(NamedTuple):
    """What a manifest says of a shard; the hashes (SHA-256) are of the tar and of its index."""

    name: str
    images: int
    bytes: int
    sha256: str
    index_sha256: str


class ShardBackend(BaseStorageBackend):
    """Gives the bytes of an image in a shard, so that ``mmengine.fileio`` reads its address."""

    def get(self, filepath: str) -> bytes:
        """The image.

        Raises:
            FileNotFoundError: If there is no such shard, or no such image in it.
            ValueError: If the shard ends before the image does, or its bytes have changed.
        """
        shard, record = parse_address(str(filepath))
        if record.size < 0:
            records = {r.name: r for r in _cached_index(shard)}
            if record.name not in records:
                raise FileNotFoundError(2, f'not in {shard}', record.name)
            record = records[record.name]
        content = read_bytes(shard, record.start, record.size)
        if record.crc is not None and zlib.crc32(content) != record.crc:
            raise ValueError('its bytes in the shard are not those that were written (CRC-32)')
        return content

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """As :meth:`get`, decoded."""
        return self.get(filepath).decode(encoding)


_PREFIXES = ('shards', *(f'shards+{scheme}' for scheme in _REMOTE))
register_backend('shards', ShardBackend, force=True, prefixes=_PREFIXES)


def address(shard: str, record: Record) -> str:
    """Address of an image in a shard, which is a local path or a URL."""
    scheme = 'shards+' if is_remote(shard) else 'shards://'
    if record.size < 0:
        return f'{scheme}{shard}/{record.name}'
    crc = '' if record.crc is None else f'+{record.crc:08x}'
    return f'{scheme}{shard}#{record.start}+{record.size}{crc}/{record.name}'


def is_address(path: str) -> bool:
    """Whether it is the address of an image in a shard."""
    return path.startswith(('shards://', 'shards+'))


def parse_address(path: str) -> tuple[str, Record]:
    """Path or URL of the shard, and the image in it; its size is -1 where none is given."""
    found = _ADDRESS.fullmatch(path)
    if not found:
        raise ValueError(f'{path!r} names no image in a shard, as shards:///shard.tar/image.jpg')
    shard, start, size, crc, name = found.groups()
    if start is None:
        return shard, Record(name, 0, -1)
    return shard, Record(name, int(start), int(size), int(crc, 16) if crc else None)


def shown(path: str) -> str:
    """A path as people read it: an address without the numbers."""
    if not is_address(path):
        return path
    shard, record = parse_address(path)
    return address(shard, record._replace(size=-1))


def relative_to(path: str, root: str) -> str:
    """A path relative to the folder in which :func:`list_images` has found it.

    Of an image in a shard it is ``shard-000003.tar/cats/1.jpg``.
    """
    if not is_address(path):
        return os.path.relpath(path, root)
    shard, record = parse_address(path)
    return f'{posixpath.basename(shard)}/{record.name}'


def join(root: str, path: str) -> str:
    """The inverse of :func:`relative_to`."""
    if not are_shards(root):
        return os.path.join(root, path)
    root = _local(root)
    folder = posixpath.dirname(root) if root.endswith('.tar') else root.rstrip('/')
    shard, _, name = path.partition('/')
    return address(f'{folder or "."}/{shard}', Record(name, 0, -1))


def is_remote(path: str) -> bool:
    """Whether it is a URL of a storage that is not this machine's."""
    return path.partition('://')[0] in _REMOTE and '://' in path


def are_shards(root: str) -> bool:
    """Whether it is a place of shards: a tar, a URL, or a folder with a manifest or tars only."""
    root = _local(root)
    if is_remote(root) or root.endswith('.tar') or os.path.isfile(f'{root}/{MANIFEST}'):
        return True
    with suppress(OSError), os.scandir(root) as entries:
        endings = ('.tar', '.tsv')
        first = next((entry.name for entry in entries), '')  # in a folder of a million, one will do
        return first.endswith(endings) and all(n.endswith(endings) for n in os.listdir(root))
    return False


def list_shards(root: str, endings: Sequence[str]) -> list[str]:
    """Addresses of the images in the shards at a place, shard by shard.

    The manifest that ``simmim shard`` writes says where each image is. Tars without one are read
    through once, header by header, if they are local.

    Args:
        root: A folder with a manifest, or of tars; a tar; several, such as
            ``/data/train-{000..146}.tar``. A path or a URL (``file:``, ``http(s):``, ``s3:``).
        endings: Of the images, in lower case, with the dot.

    Raises:
        DataError: If a shard is missing, is shorter or longer than the manifest says, its index
            was changed, or there is no image.
    """
    root = _local(root).rstrip('/')
    if '.tar/' in root:
        raise DataError(f'{root!r}: a folder of shards may not lie in one that is named *.tar')
    indices: list[str] = []
    if root.endswith('.tar'):
        shards = _expand(root)
    elif is_remote(root) or os.path.isfile(f'{root}/{MANIFEST}'):
        known = read_manifest(root)
        shards = [f'{root}/{shard.name}' for shard in known]
        indices = [shard.index_sha256 for shard in known]
        _check_sizes(shards, [shard.bytes for shard in known])
    else:
        shards = [f'{root}/{name}' for name in sorted(os.listdir(root)) if name.endswith('.tar')]
    indices = indices or [''] * len(shards)
    found = []
    with ThreadPoolExecutor(_THREADS if is_remote(root) else 1) as pool:
        for shard, records in zip(shards, pool.map(read_index, shards, indices)):
            found += [address(shard, r) for r in records if r.name.lower().endswith(tuple(endings))]
    if not found:
        raise DataError(
            f'no image in the {len(shards)} shards of {root!r}: looked for {" ".join(endings)}'
        )
    return found


def read_manifest(root: str) -> list[Shard]:
    """The shards at a place.

    Raises:
        DataError: If there is no manifest, or it is none.
    """
    path = f'{root}/{MANIFEST}'
    try:
        manifest = json.loads(read_bytes(path))
        if manifest['format'] != _FORMAT:
            raise ValueError(f'its format is {manifest["format"]!r}')
        shards = [Shard(**shard) for shard in manifest['shards']]
        for shard in shards:
            if not isinstance(shard.name, str) or not _NAME.fullmatch(shard.name):
                raise ValueError(f'{shard.name!r} is no name of a shard in this folder')
            if [type(value) for value in shard[1:]] != [int, int, str, str]:
                raise ValueError(f'numbers and hashes of {shard.name} are of other types')
        return shards
    except FileNotFoundError:
        raise DataError(
            f'there is no {path}: a remote folder can be read if it holds the shards that '
            '`simmim shard FOLDER OUT` writes, with their manifest; or pass the addresses of the '
            'images in an ann_file'
        ) from None
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f'{path} is no manifest of {_FORMAT!r}: {error}') from error


def write_manifest(shards: Sequence[Shard], **facts: Any) -> str:
    """The text of a manifest: the shards, and whatever else is worth knowing."""
    images, size = (sum(getattr(s, key) for s in shards) for key in ('images', 'bytes'))
    facts = dict(format=_FORMAT, images=images, bytes=size, **facts)
    return json.dumps({**facts, 'shards': [shard._asdict() for shard in shards]}, indent=1) + '\n'


def index_path(shard: str) -> str:
    """Where the index of a shard lies: beside it."""
    return f'{shard.removesuffix(".tar")}.tsv'


def read_index(shard: str, sha256: str = '') -> list[Record]:
    """The images of a shard, from its index; of a local tar without one, from its headers.

    Raises:
        DataError: If the index or the tar is damaged, or there is neither.
    """
    path = index_path(shard)
    if not is_remote(shard) and not os.path.exists(path) and not sha256:
        return list(scan_tar(shard))
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        raise DataError(f'there is no {path}, the index of {shard}') from None
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(
            f'{path} is not the index that {MANIFEST} names (SHA-256): copy it anew, or write the '
            'shards again'
        )
    lines = content.decode('utf-8', 'surrogateescape').split('\n')
    records = []
    for number, line in enumerate(lines, 1):
        if line and not line.startswith('#'):
            try:
                records.append(Record.parse(line))
            except ValueError as error:
                raise DataError(f'{path} is no index, in line {number}: {error}') from error
            _check_name(records[-1].name, path)
    return records


def _check_name(name: str, path: str) -> None:
    """Refuse what would lead out of a folder in which a shard is unpacked."""
    if '..' in name.split('/'):
        raise DataError(f'{path} names {name!r}, outside of the shard')


@lru_cache(maxsize=4)
def _cached_index(shard: str) -> list[Record]:
    return read_index(shard)


def scan_tar(path: str) -> Iterator[Record]:
    """The files in a local tar, from their headers.

    Raises:
        DataError: If it is missing, no tar, damaged or cut short. (Python's ``tarfile`` takes a
            damaged header for the end.)
    """
    end = 0
    try:
        with tarfile.open(path, 'r:') as tar:
            for member in tar:
                end = member.offset_data + -(-member.size // 512) * 512
                if member.isreg():
                    _check_name(member.name, path)
                    yield Record(member.name, member.offset_data, member.size)
                tar.members = []  # type: ignore[attr-defined]  # they would grow with every file
        with open(path, 'rb') as file:
            file.seek(end)
            if any(file.read(512)) or os.path.getsize(path) < end:
                raise DataError(f'{path} is damaged or cut short at byte {end}')
    except FileNotFoundError:
        raise DataError(f'there is no shard {path}') from None
    except (tarfile.TarError, OSError) as error:
        raise DataError(f'{path} cannot be read as a tar: {error}') from error


def _check_sizes(shards: Sequence[str], sizes: Sequence[int]) -> None:
    """Whether the shards are there, and as long as they shall be."""
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(_size, shards))
    missing = [shard for shard, size in zip(shards, found) if size is None]
    if missing:
        raise DataError(f'{len(missing)} of {len(shards)} shards are missing: {first_few(missing)}')
    wrong = [
        f'{shard} has {size} bytes instead of {wanted}'
        for shard, size, wanted in zip(shards, found, sizes)
        if size != wanted
    ]
    if wrong:
        raise DataError(
            f'{len(wrong)} of {len(shards)} shards are cut short or are others than {MANIFEST} '
            f'names: {first_few(wrong)}; copy them anew'
        )


def _expand(pattern: str) -> list[str]:
    """``train-{000..146}.tar``, as the users of WebDataset write it; or the one name it is."""
    found = _BRACES.search(pattern)
    if not found:
        return [pattern]
    first, last = found.groups()
    numbers = (f'{i:0{len(first)}d}' for i in range(int(first), int(last) + 1))
    return [
        name
        for number in numbers
        for name in _expand(pattern[: found.start()] + number + pattern[found.end() :])
    ]


def _local(path: str) -> str:
    """A ``file:`` URL as a path."""
    return re.sub(r'^file:(//)?(?=/)', '', path)


def read_bytes(path: str, start: int = 0, size: int | None = None) -> bytes:
    """Bytes of a local or remote file, all of them without ``size``.

    A remote read that fails is tried again for some seconds.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read.
        ValueError: If it ends too early.
    """
    if not is_remote(path):
        return _read_local(path, start, size)
    return _persist(lambda: _read_remote(path, start, size), path)


def _persist(read: Callable[[], T], path: str) -> T:
    """What ``read`` gives; a connection that was dropped is made again, for some seconds."""
    failure = None
    for delay in (*_DELAYS, 0):
        try:
            return read()
        except (FileNotFoundError, PermissionError, DataError):
            raise
        except Exception as error:  # each storage has its own
            failure = error
        time.sleep(delay)
    reason = f'{type(failure).__name__}: {failure}'.rstrip(': ')
    raise OSError(f'{path} cannot be read after {len(_DELAYS) + 1} tries: {reason}') from failure


_opened = threading.local()


def _read_local(path: str, start: int, size: int | None) -> bytes:
    if size is None:
        with open(path, 'rb') as file:
            return file.read()
    files = _opened.__dict__.setdefault('files', OrderedDict())
    if path not in files:
        while len(files) >= _OPEN_FILES:
            os.close(files.popitem(last=False)[1][0])
        files[path] = [os.open(path, os.O_RDONLY), 0]
    files.move_to_end(path)
    opened = files[path]
    opened[1] += 1
    if opened[1] == 2 and hasattr(os, 'posix_fadvise'):
        # Whoever takes two images of a shard takes more of them: the disk reads it in one go, and
        # not image by image. One image is what a look at some of a million takes.
        os.posix_fadvise(opened[0], 0, 0, os.POSIX_FADV_WILLNEED)
    # What an index claims may not fit into memory.
    content = os.pread(opened[0], min(size, os.fstat(opened[0]).st_size), start)
    if len(content) < size:
        raise ValueError(f'the shard ends {size - len(content)} bytes too early')
    return content


def _read_remote(path: str, start: int, size: int | None) -> bytes:
    storage = _storage(path)
    if size is None:
        return storage.cat_file(path)
    if size == 0:
        return b''
    content = storage.cat_file(path, start=start, end=start + size)
    if len(content) != size:
        raise OSError(f'{len(content)} bytes came instead of {size}: does it take ranges?')
    return content


def _storage(path: str) -> Any:
    """The file system of a URL, one for each process, as connections do not survive a fork."""
    return _file_system(path.partition('://')[0], os.getpid())


@lru_cache(maxsize=8)
def _file_system(scheme: str, process: int) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(scheme, skip_instance_cache=True)
    except ImportError as error:
        raise DataError(f'{scheme}:// cannot be read: {error}; {_EXTRA}') from error


def _size(path: str) -> int | None:
    """In bytes; None if there is no such file."""
    if not is_remote(path):
        return os.path.getsize(path) if os.path.isfile(path) else None
    try:
        return _persist(lambda: _storage(path).size(path), path)
    except FileNotFoundError:
        return None
