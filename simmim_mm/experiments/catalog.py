"""The configs that come with the project, by name. Nothing heavy is imported."""

from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path
from typing import NamedTuple

_PACKAGE = Path(__file__).resolve().parents[1]
# A wheel carries them; in a clone they are beside the package, and `.mim` may link to them.
_PLACES = (_PACKAGE / '.mim' / 'configs', _PACKAGE.parent / 'configs')
CONFIGS = next((place.resolve() for place in _PLACES if place.is_dir()), _PLACES[0])


class ConfigInfo(NamedTuple):
    """A config.

    Attributes:
        name: Of the file, without ``.py``.
        path: The file.
        summary: The first comment of the file, up to the end of its first sentence; may be empty.
    """

    name: str
    path: Path
    summary: str


def list_configs(pattern: str | None = None) -> list[ConfigInfo]:
    """The configs that can be trained, sorted by folder and name.

    Args:
        pattern: Part of the path below ``configs/`` (``'swin'``, ``'pixmim/'``), or with wildcards
            a name (``'mae_*_folder-*'``).
    """
    found = []
    for path in sorted(CONFIGS.rglob('*.py')):
        folder = path.relative_to(CONFIGS)
        if '_base_' in folder.parts or not _is_config(path):
            continue
        wild = pattern is not None and any(mark in pattern for mark in '*?[')
        if pattern is None or (fnmatch(path.stem, pattern) if wild else pattern in str(folder)):
            found.append(ConfigInfo(path.stem, path, _summary(path)))
    return found


def list_models(pattern: str | None = None) -> list[str]:
    """Names of the configs that pretrain a model, which :func:`simmim_mm.get_model` takes.

    Args:
        pattern: As of :func:`list_configs`.
    """
    found = list_configs(pattern)
    return [info.name for info in found if 'downstream' not in info.path.parts]


def find_config(name: str | Path) -> Path:
    """The file of a config: a path, or the name of one that comes with the project.

    Raises:
        FileNotFoundError: If there is none; names files with similar names.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.parent == Path('.'):
        for info in list_configs():
            if info.name == path.name.removesuffix('.py'):
                return info.path
    near = next(p for p in (*path.parents, Path('.')) if p.is_dir())
    # Not the whole tree below the working directory, which may hold anything.
    files = near.glob('*.py') if near == Path('.') else near.rglob('*.py')
    for configs in (Path('configs'), CONFIGS):
        files = chain(files, configs.rglob('*.py'))
    known: dict[str, Path] = {}
    for file in sorted(files):
        if '_base_' not in file.parts:
            known.setdefault(file.stem, file)
    close = get_close_matches(path.name.removesuffix('.py'), known, n=3, cutoff=0.5)
    hint = f'; did you mean {" or ".join(str(known[name]) for name in close)}?' if close else ''
    raise FileNotFoundError(f'no config file {path}{hint}')


def _is_config(path: Path) -> bool:
    """Sweep files, which are no configs, name their ``base``."""
    return not any(line.startswith('base =') for line in _lines(path))


def _lines(path: Path) -> Iterator[str]:
    with open(path, encoding='utf-8') as file:
        yield from file


def _summary(path: Path) -> str:
    words: list[str] = []
    for line in _lines(path):
        if not line.startswith('#'):
            break
        text = line.lstrip('#').strip()
        if not text:
            break
        words.append(text)
    text = ' '.join(words)
    end = text.find('. ')
    return text.rstrip('.') if end < 0 else text[:end]
