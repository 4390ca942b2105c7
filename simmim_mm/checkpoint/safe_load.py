"""Reading checkpoints of unknown origin without running any code they carry.

Unpickling a ``.pth`` file runs whatever it names. Here only tensors and plain containers are built;
the few classes that honest training scripts leave beside the weights (their config, arguments,
numpy numbers) are replaced by inert stand-ins, and a file that names anything else is refused.
"""

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simmim_mm._text import one_line
from simmim_mm.checkpoint.diagnose import describe_file, named_globals


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint; the message names the file and the reason."""


class UnsafeCheckpoint(CheckpointError):
    """A file whose pickle asks for functions or classes that are not on the list of inert ones."""


class NotWeights(CheckpointError):
    """A file that holds no model weights: text, an image, a truncated download."""


class _Plain:
    """Stand-in for a mapping or namespace: an OrderedDict, the only kind that torch fills."""

    def __new__(cls, *args: Any) -> OrderedDict:
        return OrderedDict(*(a for a in args if isinstance(a, dict)))


class _History(_Plain):
    """Stand-in for mmengine's HistoryBuffer, which pickles its methods through getattr."""


class _Method:
    """Stand-in for getattr, by which no other class may be asked for anything.

    Who resumes a training has mmengine read the file again, with the real one, which leads from
    any object to any function.
    """

    def __init__(self, owner: Any = None, name: Any = '', *args: Any) -> None:
        if owner is not _History or not isinstance(name, str) or name.startswith('_') or args:
            raise pickle.UnpicklingError('Unsupported global: GLOBAL builtins.getattr of others')


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
    'addict.addict.Dict',
    'easydict.EasyDict',
    'collections.defaultdict',
)
_OPAQUE = (
    *(f'numpy.{core}.multiarray._reconstruct' for core in ('core', '_core')),
    *(f'numpy.{core}.multiarray.scalar' for core in ('core', '_core')),
    *(f'numpy.{kind}' for kind in ('ndarray', 'dtype')),
    *(f'pathlib.{system}Path' for system in ('Posix', 'Windows')),
    *(f'builtins.{kind}' for kind in ('dict', 'list', 'int', 'float', 'bytes')),
)
_MOST_UNPACKED = 20  # bytes for one of the file
_HISTORY, _GETATTR = 'mmengine.logging.history_buffer.HistoryBuffer', 'builtins.getattr'
_KNOWN = {
    *_PLAIN,
    *_OPAQUE,
    _HISTORY,
    _GETATTR,
    'collections.OrderedDict',
    'collections.Counter',
    '_codecs.encode',
}
_KNOWN |= {'builtins.set', 'builtins.bytearray', 'builtins.complex'}  # allowed by torch itself
_STAND_INS: list[Any] = [(_Plain, name) for name in _PLAIN] + [(_Opaque, name) for name in _OPAQUE]
_STAND_INS += [(_History, _HISTORY), (_Method, _GETATTR)]


def load_weights(path: str | Path) -> dict:
    """Load a checkpoint file on the CPU, safely.

    Args:
        path: A file written by ``torch.save`` (either format) or, with the package installed, a
            ``.safetensors`` file.

    Returns:
        What the file holds: a state dict, or a dict with one (:func:`find_state_dict` picks it).
        Objects other than tensors, numbers, strings and containers come back empty or as plain
        dicts.

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
    _check_archive(path)
    try:
        with torch.serialization.safe_globals(_STAND_INS), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of damage, before the error that it leads to
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


def find_state_dict(checkpoint: Mapping, path: str | Path = 'the checkpoint') -> dict:
    """The first of the :func:`state_dicts` inside a loaded checkpoint, ``{name: tensor}``.

    Raises:
        NotWeights: If there is none.
    """
    for tensors in state_dicts(checkpoint).values():
        return tensors
    raise NotWeights(
        f'{path} holds no tensors (its keys: {sorted(map(str, checkpoint))[:8]}): it is not a '
        'checkpoint of a model'
    )


def state_dicts(checkpoint: Mapping, where: str = '') -> dict[str, dict[str, Tensor]]:
    """All state dicts inside a loaded checkpoint, the likeliest first, by where they are.

    Returns:
        ``{'teacher': {name: tensor}}``, ``{'a.b': ...}`` for one inside another, ``''`` for the
        checkpoint itself. Entries whose name speaks of something else are left out.
    """
    inside = [k for k in checkpoint if isinstance(k, str) and isinstance(checkpoint[k], Mapping)]
    first = [k for k in _CONTAINERS if k in inside]
    others = [k for k in inside if k not in first and _LIKELY.search(k)]
    tensors = {k: v for k, v in checkpoint.items() if isinstance(k, str) and isinstance(v, Tensor)}
    found: dict[str, dict[str, Tensor]] = {}
    for name in [*first, None, *others]:
        if name is None:
            found |= {where: tensors} if tensors else {}
        elif where.count('.') < 2:
            found |= state_dicts(checkpoint[name], f'{where}.{name}'.lstrip('.'))
    return found


# Where training scripts put weights. A teacher is the average that its authors evaluate.
_CONTAINERS = ('state_dict', 'model', 'model_state_dict', 'module', 'teacher')
_LIKELY = re.compile('state_dict|model|net|teacher|student|ema|encoder|backbone|params|weights')


def plain_dict(value: Any) -> dict:
    """Items and attributes of a loaded mapping or namespace (a config, arguments) as one dict."""
    if not isinstance(value, Mapping):
        return {}
    return {**getattr(value, '__dict__', {}), **value}


def _check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to far more than it holds: torch.save does not pack."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception:  # none, or damaged: PyTorch finds out
        return
    if unpacked > _MOST_UNPACKED * size:
        raise NotWeights(
            f'{path} unpacks to {unpacked / 1e9:.1f} GB from {size} bytes, as no checkpoint does'
        )


def _load_safetensors(path: Path) -> dict:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise CheckpointError(
            f'{path}: reading .safetensors needs the package: pip install safetensors'
        ) from None
    try:
        tensors = load_file(path)
    except Exception as error:  # of torch, too, for a type that it does not have
        raise NotWeights(f'{path} is not a safetensors file: {one_line(error)}') from None
    return find_state_dict(tensors, path)


def _explain(path: Path, error: Exception) -> CheckpointError:
    unknown = {n for n in named_globals(path) - _KNOWN if not n.startswith('torch.')}
    with path.open('rb') as file:
        pickled = file.read(2) in (b'PK', b'\x80\x02', b'\x80\x03', b'\x80\x04', b'\x80\x05')
    if pickled and isinstance(error, pickle.UnpicklingError) and 'GLOBAL' in str(error):
        unknown |= set(str(error).split('GLOBAL ')[-1].split()[:1])
    if unknown:
        return UnsafeCheckpoint(
            f'{path} is refused: besides weights it asks to run or build '
            f'{", ".join(sorted(unknown))}, which no checkpoint needs. Nothing of it was run. If '
            'you trust its author, load it with their code and save the tensors alone: '
            "torch.save({'model': model.state_dict()}, ...)"
        )
    return NotWeights(
        f'{path} is not a readable checkpoint: {describe_file(path)}. Download it again, or check '
        f'the path ({type(error).__name__}: {one_line(error, 120)})'
    )
