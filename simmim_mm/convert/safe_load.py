"""Reading checkpoints of unknown origin without running any code they carry.

A ``.pth`` file is a pickle, and unpickling runs whatever the file names. Here only tensors and
plain containers are built; the few classes that honest training scripts leave beside the weights
(their config, their arguments, numpy numbers) are replaced by inert stand-ins, and a file that
names anything else is refused.
"""

import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union

import torch
from torch import Tensor


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint; the message names the file and the reason."""


class UnsafeCheckpoint(CheckpointError):
    """A file whose pickle asks for functions or classes that are not on the list of inert ones."""


class NotWeights(CheckpointError):
    """A file that holds no model weights: text, an image, a truncated download."""


class _Plain:
    """Stand-in for a mapping or namespace: becomes an OrderedDict.

    The restricted unpickler fills items of nothing else; attributes end in its ``__dict__``.
    """

    def __new__(cls, *args: Any) -> OrderedDict:
        return OrderedDict(*(a for a in args if isinstance(a, dict)))


class _Opaque:
    """Stand-in for a value that nobody reads: takes any arguments and state, keeps none."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


_PLAIN = (
    'yacs.config.CfgNode',  # microsoft/SimMIM, microsoft/Swin-Transformer: 'config'
    'argparse.Namespace',  # facebookresearch/mae and its descendants: 'args'
    'mmengine.config.config.ConfigDict',
    'mmengine.logging.history_buffer.HistoryBuffer',
    'addict.addict.Dict',
    'easydict.EasyDict',
    'collections.defaultdict',
)
_OPAQUE = (
    'numpy.core.multiarray._reconstruct',
    'numpy._core.multiarray._reconstruct',
    'numpy.core.multiarray.scalar',
    'numpy._core.multiarray.scalar',
    'numpy.ndarray',
    'numpy.dtype',
    'pathlib.PosixPath',
    'pathlib.WindowsPath',
    'builtins.dict',
    'builtins.list',
    'builtins.int',
    'builtins.float',
    # mmengine's HistoryBuffer pickles its methods through getattr. The stand-in gets no attribute.
    'builtins.getattr',
)
_KNOWN = {*_PLAIN, *_OPAQUE, 'collections.OrderedDict', 'collections.Counter', '_codecs.encode'}
_KNOWN |= {'builtins.set', 'builtins.bytearray', 'builtins.complex'}  # allowed by torch itself
_STAND_INS = [(_Plain, name) for name in _PLAIN] + [(_Opaque, name) for name in _OPAQUE]


def load_weights(path: Union[str, Path]) -> dict:
    """Load a checkpoint file on the CPU, safely.

    Args:
        path: A file written by ``torch.save`` (either format) or, with the package installed, a
            ``.safetensors`` file.

    Returns:
        What the file holds: a state dict, or a dict with one under ``'state_dict'``, ``'model'`` or
        the like beside other things (:func:`find_state_dict` picks it). Objects other than tensors,
        numbers, strings and containers come back empty or as plain dicts.

    Raises:
        FileNotFoundError: If there is no such file.
        UnsafeCheckpoint: If the file asks for code other than the known inert classes.
        NotWeights: If the file is not a checkpoint or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no checkpoint file at {path}')
    if path.suffix == '.safetensors':
        return _load_safetensors(path)
    try:
        with torch.serialization.safe_globals(_STAND_INS):
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # a hostile or broken file makes the unpickler fail in any way
        raise _explain(path, error) from None
    if not isinstance(checkpoint, Mapping):
        raise NotWeights(
            f'{path} holds a {type(checkpoint).__name__}, not a dict of weights: expected a state '
            "dict or a checkpoint with one under 'model' or 'state_dict'"
        )
    find_state_dict(checkpoint, path)
    return dict(checkpoint)


def find_state_dict(checkpoint: Mapping, path: Union[str, Path] = 'the checkpoint') -> dict:
    """The state dict inside a loaded checkpoint: ``{name: tensor}``.

    Raises:
        NotWeights: If neither the checkpoint nor its ``'state_dict'``, ``'model'``, ``'module'`` or
            ``'teacher'`` entry holds named tensors.
    """
    for candidate in (*(checkpoint.get(k) for k in _CONTAINERS), checkpoint):
        if isinstance(candidate, Mapping):
            tensors = {
                k: v for k, v in candidate.items() if isinstance(k, str) and isinstance(v, Tensor)
            }
            if tensors:
                return tensors
    raise NotWeights(
        f'{path} holds no tensors (its keys: {sorted(map(str, checkpoint))[:8]}): it is not a '
        'checkpoint of a model'
    )


_CONTAINERS = ('state_dict', 'model', 'module', 'teacher')


def plain_dict(value: Any) -> dict:
    """Items and attributes of a loaded mapping or namespace (a config, arguments) as one dict."""
    if not isinstance(value, Mapping):
        return {}
    return {**getattr(value, '__dict__', {}), **value}


def _load_safetensors(path: Path) -> dict:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise CheckpointError(
            f'{path}: reading .safetensors needs the package: pip install safetensors'
        ) from None
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise NotWeights(f'{path} is not a safetensors file: {error}') from None
    return find_state_dict(tensors, path)


def _explain(path: Path, error: Exception) -> CheckpointError:
    unknown = {n for n in _named_globals(path) - _KNOWN if not n.startswith('torch.')}
    message = str(error).splitlines()[0] if str(error) else ''
    with path.open('rb') as file:
        pickled = file.read(2) in (b'PK', b'\x80\x02', b'\x80\x03', b'\x80\x04', b'\x80\x05')
    if pickled and isinstance(error, pickle.UnpicklingError) and 'GLOBAL' in str(error):
        unknown.add(str(error).split('GLOBAL ')[-1].split()[0])
    if unknown:
        return UnsafeCheckpoint(
            f'{path} is refused: besides weights it asks to run or build '
            f'{", ".join(sorted(unknown))}, which no checkpoint needs. Nothing of it was run. If '
            'you trust its author, load it with their code and save the tensors alone: '
            "torch.save({'model': model.state_dict()}, ...)"
        )
    return NotWeights(
        f'{path} is not a readable checkpoint: {_looks_like(path)}. Download it again, or check '
        f'the path ({type(error).__name__}: {message[:120]})'
    )


def _looks_like(path: Path) -> str:
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


def _named_globals(path: Path) -> set[str]:
    """Names that the pickles of a file ask for, read from their opcodes without running them.

    For the error message only: what is allowed is decided by the restricted unpickler.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inner = [n for n in archive.namelist() if n.endswith('.pkl')]
                return set().union(*(_scan(archive.read(n)) for n in inner))
        with path.open('rb') as file:
            return _scan(file.read(1 << 24))
    except (OSError, zipfile.BadZipFile, RuntimeError):
        return set()


def _scan(data: bytes) -> set[str]:
    found: set[str] = set()
    while data:  # the legacy format is several pickles in a row, then the storages
        names, strings, end = set(), ['', ''], 0
        try:
            for opcode, argument, position in pickletools.genops(data):
                end = position + 1
                if opcode.name in ('GLOBAL', 'INST'):
                    names.add(_modern(*argument.split(' ', 1)))
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
