"""What a file that is refused as a checkpoint holds, for the error message."""

import pickletools
import zipfile
from pathlib import Path


def describe_file(path: Path) -> str:
    """What a file that could not be read as a checkpoint seems to be."""
    size = path.stat().st_size
    with path.open('rb') as file:
        head = file.read(512)
    if not head:
        return 'the file is empty'
    if head.lstrip()[:1] == b'<':
        return 'it looks like a web page, perhaps an error page saved by the download'
    if head[:4] == b'PK\x03\x04':
        return f'a zip archive of {size} bytes, truncated or not written by torch.save'
    if head[:4] in (b'\x89PNG', b'\xff\xd8\xff\xe0', b'\xff\xd8\xff\xe1', b'GIF8', b'RIFF'):
        return 'it looks like an image'
    if b'git-lfs' in head:
        return 'it is a git-lfs pointer, not the file itself'
    if all(byte in b'\t\r\n' or byte >= 32 for byte in head):
        return 'it looks like text'
    return f'{size} bytes of an unknown or damaged format'


def named_globals(path: Path) -> set[str]:
    """Names that the pickles of a file import, read from their opcodes without running them.

    For the error message only: what is allowed is decided by the restricted unpickler.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inner = [n for n in archive.namelist() if n.endswith('.pkl')]
                return set().union(*(_scan(archive.read(n)) for n in inner))
        with path.open('rb') as file:
            return _scan(file.read(1 << 24))
    except Exception:  # a damaged archive fails in any way
        return set()


def _scan(data: bytes) -> set[str]:
    found: set[str] = set()
    while data:  # the legacy format is several pickles in a row, then the storages
        names, strings, end = set(), ['', ''], 0
        try:
            for opcode, argument, position in pickletools.genops(data):
                end = (position or 0) + 1
                if opcode.name in ('GLOBAL', 'INST'):
                    names.add(_modern(*str(argument).split(' ', 1)))
                elif opcode.name == 'STACK_GLOBAL':
                    names.add(_modern(*strings[-2:]))
                elif isinstance(argument, str):
                    strings.append(argument)
        except Exception:  # no pickle from here on; one of protocol 0 may be any text
            return found | names if data[:1] == b'\x80' else found
        found |= names
        data = data[end:]
    return found


def _modern(module: str, name: str) -> str:
    # Protocol 2 writes the names of Python 2.
    module = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}.get(module, module)
    return f'{module}.{name}'
