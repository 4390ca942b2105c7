"""Checks that the pieces simmim_mm stands on are there, before any of them is imported.

With the standard library alone, versions are read from the metadata of installed distributions, so
that a missing or unsuitable piece is reported in one line that names the fix.

Both lines of OpenMMLab will do: the original distributions (``mmcv``) and the maintained ones
(``onedl-mmcv``) differ in their distribution's name, not in what is imported.
"""

import re
import sys
from importlib import import_module, metadata, util
from pathlib import Path
from typing import NamedTuple


class StackError(ImportError):
    """A piece of the stack is missing or of the wrong version; the message is one line."""


class Piece(NamedTuple):
    """One needed module: versions in ``[low, high)``; ``pin`` is what was verified together."""

    module: str
    distributions: tuple[str, ...]
    low: str
    high: str | None
    pin: str


_MMENGINE = ('onedl-mmengine', 'mmengine', 'mmengine-lite')
_MMCV = ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full')
_MMPRETRAIN = ('onedl-mmpretrain', 'mmpretrain')
PIECES = (
    Piece('torch', ('torch',), '2.5', None, 'torch==2.14.1 torchvision==0.29.1'),
    Piece('mmengine', _MMENGINE, '0.10.0', '1.0', 'onedl-mmengine==0.10.12'),
    Piece('mmcv', _MMCV, '2.0.0', '2.4', 'onedl-mmcv==2.3.6'),
    Piece('mmpretrain', _MMPRETRAIN, '1.0.0', '2.0', 'onedl-mmpretrain==1.3.6'),
)


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution; None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def is_importable(module: str) -> bool:
    """Whether a top-level module can be found, without importing it."""
    return util.find_spec(module) is not None


def check() -> None:
    """Raises StackError, in one line, at the first piece that is missing or does not suit.

    A command of the project ends with that line: nobody can catch what happens while it imports.
    """
    try:
        for piece in PIECES:
            _check_piece(piece)
    except StackError as error:
        if _is_command(sys.argv[0]):
            sys.exit(f'error: {error}')
        raise


def _is_command(program: str) -> bool:
    """Whether a process runs `simmim`, ``python -m simmim_mm.cli`` or one of our scripts."""
    package, script = Path(__file__).resolve().parent, Path(program).resolve()
    scripts = {package.parent / 'tools', package / '.mim' / 'tools'}
    as_module = program == '-m' and 'simmim_mm.cli' in sys.orig_argv
    return as_module or script.name == 'simmim' or not scripts.isdisjoint(script.parents)


def require_mmcv_ops() -> None:
    """Raises StackError unless mmcv's compiled operators load; detection models need them."""
    try:
        import_module('mmcv.ops')
    except (ImportError, AssertionError) as error:  # the latter: built from another mmcv
        builder = Path(__file__).parent / '.mim' / 'tools' / 'setup' / 'mmcv_ops.py'
        raise StackError(
            f'mmcv has no working compiled operators, which detection needs '
            f'({str(error).splitlines()[0]}); fix: `make setup` in a clone of simmim_mm, or '
            f'python {builder} (about 3 minutes)'
        ) from None


def _check_piece(piece: Piece) -> None:
    found = {name: installed_version(name) for name in piece.distributions}
    found = {name: version for name, version in found.items() if version is not None}
    wanted = f'>={piece.low}' + (f',<{piece.high}' if piece.high else '')
    if not found and not is_importable(piece.module):
        raise StackError(
            f'simmim_mm needs {piece.module} {wanted}, which is not installed; '
            f'fix: pip install {piece.pin}'
        )
    # A module that is found without a distribution (a source tree on the path) is taken on trust.
    for name, version in found.items():
        release = _release(version)
        if release >= _release(piece.low) and not (piece.high and release >= _release(piece.high)):
            continue
        # Distributions of one module write the same files, so any other one has to go first.
        stays = len(found) == 1 and piece.pin.startswith(f'{name}==')
        first = '' if stays else f'pip uninstall -y {" ".join(found)} && '
        raise StackError(
            f'simmim_mm needs {piece.module} {wanted}, but {name} {version} is installed; '
            f'fix: {first}pip install {piece.pin}'
        )


def _release(version: str) -> tuple[int, ...]:
    """Leading numbers of a version: ``2.14.1+cu130`` is (2, 14, 1), ``0.10.8rc1`` (0, 10, 8)."""
    match = re.match(r'\d+(\.\d+)*', version)
    return tuple(int(part) for part in match.group().split('.')) if match else ()
