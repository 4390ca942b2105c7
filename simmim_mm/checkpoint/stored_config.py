"""The config that a checkpoint carries, read without running it.

mmengine stores it as Python source, and would execute whatever somebody else wrote there.
"""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import WEIGHT_INITIALIZERS, Registry, init_default_scope
from mmengine.utils import import_modules_from_strings
from torch import Tensor

from simmim_mm._renamed import TYPES
from simmim_mm.checkpoint.safe_load import (
    CheckpointError,
    find_state_dict,
    load_weights,
    plain_dict,
)

GIVE_CONFIG = "give the run's config with --config"


def read_config(checkpoint: Mapping, path: str | Path, instead: str = '') -> Config:
    """The config that a loaded checkpoint carries.

    Args:
        checkpoint: What :func:`~simmim_mm.checkpoint.load_weights` returned.
        path: The file, for messages.
        instead: What its user can do without this config, for messages.

    Raises:
        CheckpointError: If the checkpoint carries none, or something else than settings.
    """
    text = plain_dict(checkpoint.get('meta')).get('cfg')
    if not isinstance(text, str):
        raise CheckpointError(
            f'{path} carries no config: use a checkpoint that training or simmim convert wrote'
            + (f', or {instead}' if instead else '')
        )
    with refused_config(path, instead):
        return parse_config(text)


def stored_classes(checkpoint: Mapping) -> list[str]:
    """Names of the classes that a loaded checkpoint is of, as OpenMMLab stores them; or none."""
    meta = plain_dict(plain_dict(checkpoint.get('meta')).get('dataset_meta'))
    return list(map(str, meta.get('classes') or ()))


def open_run(
    path: str | Path,
    config: Config | None,
    parts: Callable[[Config], Sequence[tuple]],
    checkpoint: Mapping | None = None,
) -> tuple[Config, dict[str, Tensor]]:
    """Config and weights of a checkpoint, ready to build models from.

    Args:
        path: The checkpoint.
        config: A trusted config, instead of the one in the checkpoint.
        parts: Gives what will be built of the config, each with its registry or registries. Of a
            config from the checkpoint, their types are checked.
        checkpoint: What :func:`~simmim_mm.checkpoint.load_weights` returned, if it is loaded.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is no checkpoint, or its config is missing or not used.
    """
    checkpoint = load_weights(path) if checkpoint is None else checkpoint
    run = read_config(checkpoint, path, GIVE_CONFIG) if config is None else config
    import_modules_from_strings(**run.get('custom_imports', dict(imports=['simmim_mm'])))
    init_default_scope(run.get('default_scope', 'simmim_mm'))
    built = parts(run)
    with refused_config(path, GIVE_CONFIG):
        for part, *registries in built if config is None else ():
            check_types(part, *registries)
    return run, find_state_dict(checkpoint, path)


@contextmanager
def refused_config(path: str | Path, instead: str = '') -> Iterator[None]:
    """Turn a ValueError about a config into a CheckpointError that names the file."""
    try:
        yield
    except ValueError as error:
        trust = f'; {instead} if you trust where it comes from' if instead else ''
        raise CheckpointError(f'the config in {path} is not read: {error}{trust}') from None


def parse_config(text: str) -> Config:
    """Build a config from lines ``name = value``, which is what mmengine stores.

    Raises:
        ValueError: At anything but literals and ``dict(...)`` calls; nothing is executed.
    """
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f'it is not Python source ({error})') from None
    values = {}
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                with suppress(ValueError, TypeError):
                    values[name] = ast.literal_eval(_Literals().visit(value))
                    continue
        source = ast.unparse(statement)[:60]
        raise ValueError(f'line {statement.lineno} is code, not a setting: {source}')
    return Config(values)


class _Literals(ast.NodeTransformer):
    """Rewrites ``dict(a=1)``, ``dict({2: 3})`` and ``inf`` as literals."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        dicts = [arg for arg in node.args if isinstance(arg, ast.Dict)]
        if getattr(node.func, 'id', None) != 'dict' or len(dicts) < len(node.args):
            return node
        keys = [key for arg in dicts for key in arg.keys]
        keys += [ast.Constant(keyword.arg) for keyword in node.keywords]
        values = [value for arg in dicts for value in arg.values]
        return ast.Dict(keys, values + [keyword.value for keyword in node.keywords])

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(float(node.id)) if node.id in ('inf', 'nan') else node


def check_types(cfg: Any, *registries: Registry) -> None:
    """Raise a ValueError at a ``type`` unknown to the registries and their relatives.

    mmengine would import and call any class or function of that name. An ``init_cfg`` may name
    what initializes weights.
    """
    known = (*registries, WEIGHT_INITIALIZERS)
    for kind in _types(cfg):
        if not (isinstance(kind, str) and any(_is_registered(kind, r) for r in known)):
            raise ValueError(f'type {kind!r} is not a registered {registries[0].name}')


def _is_registered(kind: str, registry: Registry) -> bool:
    scope, _, name = kind.rpartition('.')
    lineage = [registry]
    while lineage[-1].parent is not None:
        lineage.append(lineage[-1].parent)
    if scope:  # a relative, such as mmpretrain's, then its ancestors: as mmengine looks it up
        relatives = {lineage[-1].scope: lineage[-1], **lineage[-1].children}
        if scope not in relatives:
            return False
        lineage = [relatives[scope], *lineage[1:]]
    for candidate in lineage:
        candidate.import_from_location()
        if name in candidate.module_dict or (name in TYPES and candidate.scope == 'simmim_mm'):
            return True
    return False


def _types(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        if 'type' in node:
            yield node['type']
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _types(child)
