"""The configs that come with the package: a list of them, and finding one by name.

Listing and finding use only the standard library, and run no config.
"""

import json
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from simmim_mm._renamed import warn_renamed

if TYPE_CHECKING:
    from mmengine.config import Config


class ConfigEntry(NamedTuple):
    """A config of the package: its name is its path in ``configs/``, without the suffix."""

    name: str
    path: Path
    summary: str


def configs_folder() -> Path:
    """The folder ``configs``, of a clone or of the installed package."""
    package = Path(__file__).resolve().parent
    installed = package / '.mim' / 'configs'  # in an editable install a link
    return installed.resolve() if installed.is_dir() else package.parent / 'configs'


def list_configs(pattern: str | None = None) -> list[ConfigEntry]:
    """The configs of the package, in the order of their names.

    Args:
        pattern: Part of a name, in which ``*`` and ``?`` are wildcards. None: all configs.
    """
    folder, found = configs_folder(), []
    for path in sorted(folder.rglob('*.py')):
        relative = path.relative_to(folder)
        name = relative.with_suffix('').as_posix()
        if '_base_' not in relative.parts and fnmatchcase(name, f'*{pattern or ""}*'):
            with path.open(encoding='utf-8') as file:
                found.append(ConfigEntry(name, path, file.readline().lstrip('#').strip()))
    return found


def list_models(pattern: str | None = None) -> list[str]:
    """File names, without suffix, of the configs that pretrain: what ``get_model`` takes.

    Args:
        pattern: As of :func:`list_configs`.
    """
    others = ('demo/', 'downstream/', 'sweeps/')
    entries = [entry for entry in list_configs(pattern) if not entry.name.startswith(others)]
    return [entry.path.stem for entry in entries]


def find_config(name: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file of a config, and the settings to change in it.

    Args:
        name: A path, or the name of a config of the package, with or without its folder and suffix.
            Names of version 0.1 are found too, with a warning.

    Returns:
        The path, and settings by dotted key, which only configs of version 0.1 need.

    Raises:
        FileNotFoundError: If there is none, or several of that name; names those that come near.
    """
    path = Path(name)
    if path.is_file():
        return path, {}
    folder, parts = configs_folder(), [part for part in path.parts if part != '..']
    wanted = '/' + '/'.join(parts).rpartition('configs/')[2].removesuffix('.py') + '.py'
    renamed = json.loads((folder / 'renamed.json').read_text(encoding='utf-8'))
    for old, entry in renamed.items():
        if f'/{old}'.endswith(wanted):
            options = entry.get('options', {})
            changed = f' with other values of {", ".join(options)}' if options else ''
            warn_renamed(f'the config {old}', f'{entry["config"]}{changed}')
            return folder / entry['config'], options
    found = [entry.path for entry in list_configs() if f'/{entry.name}.py'.endswith(wanted)]
    if len(found) == 1 and not path.is_absolute():
        return found[0], {}
    near = ' or '.join(map(str, found[:3] or _similar(path)))
    raise FileNotFoundError(f'no config file {name}{near and f"; did you mean {near}?"}')


def load_config(name: str | Path) -> 'Config':
    """Read a config; ``name`` and errors as of :func:`find_config`."""
    from mmengine.config import Config

    path, options = find_config(name)
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    return cfg


def _similar(path: Path) -> list[Path]:
    """Up to three configs with similar names, beside the path and in the package."""
    near = next(p for p in (*path.parents, Path('.')) if p.is_dir())
    # not whole trees: the root of the disk, for one, may hold anything
    files = sorted([*near.glob('*.py'), *near.glob('*/*.py')])
    known: dict[str, Path] = {}
    for file in (*files, *sorted(Path('configs').rglob('*.py')), *(e.path for e in list_configs())):
        if '_base_' not in file.parts:
            known.setdefault(file.stem, file)
    close = get_close_matches(path.name.removesuffix('.py'), known, n=3, cutoff=0.5)
    return [known[name] for name in close]
