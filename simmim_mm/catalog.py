"""The configs that come with the package: a list of them, and finding one by name.

Only the standard library is used, and no config is run.
"""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from simmim_mm._renamed import warn_renamed


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


def find_config(name: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file of a config, and the settings to change in it.

    Args:
        name: A path, or the name of a config of the package, with or without its folder and suffix.
            Names of version 0.1 are found too, with a warning.

    Returns:
        The path (``name`` itself if nothing is found), and settings by dotted key, which only
        configs of version 0.1 need.
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
    return (found[0] if len(found) == 1 and not path.is_absolute() else path), {}
