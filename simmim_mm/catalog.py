"""The configs of the package, listed and found by name with the standard library alone."""

import json
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from simmim_mm._renamed import warn_renamed
from simmim_mm._text import one_line

if TYPE_CHECKING:
    from mmengine.config import Config


class ConfigError(ValueError):
    """A config that cannot be read; the message names the file and the reason."""


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
    """The configs of the package whose names have ``pattern`` in them, in the order of their names.

    In a pattern, ``*`` and ``?`` are wildcards; None gives all configs.
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
    """File names, without suffix, of the configs that pretrain; see :func:`list_configs`."""
    others, entries = ('demo/', 'downstream/', 'sweeps/'), list_configs(pattern)
    return [entry.path.stem for entry in entries if not entry.name.startswith(others)]


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
    path, options = find_config(name)
    cfg = read_config_file(path)
    cfg.merge_from_dict(options)
    return cfg


def read_config_file(path: str | Path) -> 'Config':
    """Read a config; it is Python, and runs.

    Raises:
        FileNotFoundError: If it, or a config that it inherits from, does not exist.
        ConfigError: If something in it fails.
    """
    from mmengine.config import Config

    try:
        return Config.fromfile(path)
    except FileNotFoundError:
        raise
    except Exception as error:
        reason = one_line(error, 300)
        if isinstance(error, SyntaxError):
            reason = f'{error.msg}, line {error.lineno}'
        raise ConfigError(f'config {path}: {reason} ({type(error).__name__})') from error


def _similar(path: Path) -> list[Path]:
    """Up to three configs with similar names, beside the path and in the package."""
    near = next(p for p in (*path.parents, Path('.')) if p.is_dir())
    # not whole trees: the root of the disk, for one, may hold anything
    files = sorted([*near.glob('*.py'), *near.glob('*/*.py')])
    files += [*sorted(Path('configs').rglob('*.py')), *(entry.path for entry in list_configs())]
    # of several with a name, the first
    known = {file.stem: file for file in reversed(files) if '_base_' not in file.parts}
    close = get_close_matches(path.name.removesuffix('.py'), known, n=3, cutoff=0.5)
    return [known[name] for name in close]
