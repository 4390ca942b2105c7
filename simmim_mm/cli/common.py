"""What the scripts in tools/ share: finding a config, and showing errors to people."""

import argparse
import ast
import difflib
import os
import sys
import traceback
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import NoReturn

from mmengine.config import Config

from simmim_mm.catalog import find_config

DEBUG_VARIABLE = 'SIMMIM_MM_DEBUG'


def load_config(path: str | Path) -> Config:
    """Read a config file.

    Args:
        path: A path, or the name of a config of the package.

    Raises:
        FileNotFoundError: If there is none; names files with similar names.
    """
    path, options = find_config(path)
    if path.is_file():
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(options)
        return cfg
    near = next(p for p in (*path.parents, Path('.')) if p.is_dir())
    # Not the whole tree below the working directory, which may hold anything.
    files = near.glob('*.py') if near == Path('.') else near.rglob('*.py')
    for configs in (Path('configs'), Path(__file__).parents[1] / '.mim' / 'configs'):
        files = chain(files, configs.rglob('*.py'))
    known: dict[str, Path] = {}
    for file in sorted(files):
        if '_base_' not in file.parts:
            known.setdefault(file.stem, file)
    close = difflib.get_close_matches(path.stem, known, n=3, cutoff=0.5)
    hint = f'; did you mean {" or ".join(str(known[name]) for name in close)}?' if close else ''
    raise FileNotFoundError(f'no config file {path}{hint}')


def parse_transforms(text: str) -> tuple[str, list[dict]]:
    """``'A(x=1), b.C()'``, and it as ``[dict(type='A', x=1), dict(type='b.C')]``; runs nothing."""
    try:
        body = ast.parse(text.strip(), mode='eval').body
        calls = body.elts if isinstance(body, (ast.Tuple, ast.List)) else [body]
        if any(call.args for call in calls):
            raise ValueError('arguments need names')
        return text, [
            dict(
                type=ast.unparse(call.func),
                **{keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords},
            )
            for call in calls
        ]
    except (SyntaxError, ValueError, AttributeError, TypeError) as error:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not like "Type(name=value), Type()" ({error})'
        ) from None


def run_tool(main: Callable[[], None], rank: int = 0) -> None:
    """Call ``main`` and end the process with code 2 and one line on an error of the user's.

    Errors of another kind keep their traceback, and so does everything if the environment variable
    ``SIMMIM_MM_DEBUG`` is set.

    Args:
        main: The body of a script.
        rank: Only process 0 shows the line.
    """
    try:
        main()
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE) or not is_user_error(error):
            raise
        _exit(error, rank)


def is_user_error(error: BaseException) -> bool:
    """Whether an error says all that its reader needs: a traceback would only hide it.

    That holds for files that cannot be opened, for this package's own error classes, for a
    ValueError that it or a script in ``tools/`` raises on purpose (the innermost frame is a
    ``raise`` there), and for a type name that no registry knows.
    """
    if isinstance(error, (FileNotFoundError, NotADirectoryError, PermissionError)):
        return True
    if type(error).__module__.split('.')[0] == 'simmim_mm':
        return True
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return False
    last = frames[-1]
    folder = Path(last.filename).parts
    if isinstance(error, ValueError) and ('simmim_mm' in folder or folder[-2:-1] == ('tools',)):
        return (last.line or '').startswith('raise')
    return isinstance(error, KeyError) and 'registry' in folder and 'mmengine' in folder


def _exit(error: BaseException, rank: int) -> NoReturn:
    if rank == 0:
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        if text.startswith('Caught '):  # in a data loader's worker: its traceback, then the error
            text = text.strip().splitlines()[-1].split(': ', 1)[-1]
        sys.stderr.write(f'error: {text}\n')
        sys.stderr.write(f'(set {DEBUG_VARIABLE}=1 to see where it was raised)\n')
    sys.exit(2)
