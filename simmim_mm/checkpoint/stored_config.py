"""The config that a checkpoint carries, read without running it.

mmengine stores it as Python source, and would execute whatever somebody else wrote there.
"""

import ast
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import WEIGHT_INITIALIZERS, Registry, init_default_scope
from mmengine.utils import import_modules_from_strings
from torch import Tensor

from simmim_mm._renamed import TYPES
from simmim_mm._text import one_line
from simmim_mm.checkpoint.safe_load import (
    CheckpointError,
    find_state_dict,
    load_weights,
    plain_dict,
)

GIVE_CONFIG = "give the run's config with --config"
# What a config of unknown origin may have imported, by custom_imports or as a scope.
_PACKAGES = ('simmim_mm', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg')
_WEIGHTS = ('.pth', '.pt', '.ckpt', '.bin', '.pkl', '.pickle', '.npy', '.npz', '.safetensors')


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
    with building_from(path, config):
        imports = run.get('custom_imports', dict(imports=['simmim_mm']))
        scope = run.get('default_scope', 'simmim_mm')
        if config is None:
            names = imports.get('imports') or []
            check_packages([names] if isinstance(names, str) else [*names], 'custom_imports')
            check_packages([scope], 'default_scope')
        import_modules_from_strings(**imports)
        init_default_scope(scope)
        for part, *registries in parts(run):
            if config is None:
                check_types(part, *registries)
    return run, find_state_dict(checkpoint, path)


def building_from(path: str | Path, config: Config | None) -> AbstractContextManager[None]:
    """Where models are built of what :func:`open_run` returned, for the same arguments.

    Of a config from the checkpoint, whatever goes wrong is a CheckpointError.
    """
    return refused_config(path, GIVE_CONFIG) if config is None else nullcontext()


def check_packages(names: Sequence[Any], setting: str) -> None:
    """Raise a ValueError at a module that is of none of the packages that configs are made of."""
    for name in names:
        if not isinstance(name, str) or name.partition('.')[0] not in _PACKAGES:
            raise ValueError(
                f'{setting} names {str(name)[:60]!r}, and only {", ".join(_PACKAGES)} are imported '
                'for a config that comes with weights'
            )


@contextmanager
def refused_config(path: str | Path, instead: str = '') -> Iterator[None]:
    """Turn what is raised about a config into a CheckpointError that names the file.

    Settings of the wrong kind make classes raise anything. An error of the system, or a ValueError
    that names the file, stays as it is.
    """
    try:
        yield
    except Exception as error:
        is_value_error = isinstance(error, ValueError)
        if isinstance(error, OSError) or (is_value_error and str(path) in str(error)):
            raise
        reason = one_line(error, 300)
        reason = reason if is_value_error else f'{type(error).__name__}: {reason}'
        trust = f'; {instead} if you trust where it comes from' if instead else ''
        raise CheckpointError(f'the config in {path} is not read: {reason}{trust}') from error


def parse_config(text: str) -> Config:
    """Build a config from lines ``name = value``, which is what mmengine stores.

    Raises:
        ValueError: At anything but literals and ``dict(...)`` calls; nothing is executed.
    """
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f'it is not Python source ({error})') from None
    values = {}
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                with suppress(ValueError, TypeError, RecursionError):
                    values[name] = ast.literal_eval(_Literals().visit(value))
                    continue
        source = ' '.join((ast.get_source_segment(text, statement) or '').split())[:60]
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

    mmengine would import and call any class or function of that name, and the registry of any
    ``_scope_``. Models of other libraries that load a file as they are built may run what it
    holds: they are refused, too. An ``init_cfg`` may name what initializes weights, and files: it
    has no effect until a training begins.
    """
    for node in _dicts(cfg):
        if '_scope_' in node:
            check_packages([node['_scope_']], '_scope_')
        if 'type' in node:
            kind = node['type'] if isinstance(node['type'], str) else ''
            found = [find_type(kind, r) for r in registries if r.name != WEIGHT_INITIALIZERS.name]
            if built := next(filter(None, found), None):
                if registries[0].name == 'model' and not built.__module__.startswith('simmim_mm.'):
                    _refuse_files(node, kind)
            elif not any(find_type(kind, r) for r in (*registries, WEIGHT_INITIALIZERS)):
                raise ValueError(f'type {node["type"]!r} is not a registered {registries[0].name}')


def _refuse_files(node: Mapping, kind: str) -> None:
    """Raise a ValueError where arguments of a model name a file or an address.

    ``init_cfg`` may: it has no effect until a training begins.
    """
    for key, value in node.items():
        if key in ('type', '_scope_', 'init_cfg'):
            continue
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, Mapping) and 'type' not in item:
                _refuse_files(item, kind)
            loads = key in ('pretrained', 'trust_remote_code') and item
            is_path = isinstance(item, str) and (
                '/' in item or item.endswith(_WEIGHTS) or os.path.isfile(item)
            )
            if loads or is_path:
                raise ValueError(f'{kind} would load {key}={item!r}')


def find_type(kind: str, registry: Registry) -> Any:
    """The class or function of that name that is registered; None if there is none.

    Unlike ``Registry.get``, it imports nothing that the name leads to.
    """
    scope, _, name = kind.rpartition('.')
    lineage = [registry]
    while lineage[-1].parent is not None:
        lineage.append(lineage[-1].parent)
    if scope:  # a relative, such as mmpretrain's, then its ancestors: as mmengine looks it up
        relatives = {lineage[-1].scope: lineage[-1], **lineage[-1].children}
        if scope not in relatives:
            return None
        lineage = [relatives[scope], *lineage[1:]]
    for candidate in lineage:
        candidate.import_from_location()
        if candidate.scope == 'simmim_mm':
            name = TYPES.get(name, name)
        if name in candidate.module_dict:
            return candidate.module_dict[name]
    return None


def _dicts(node: Any) -> Iterator[Mapping]:
    """All dicts inside."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _dicts(child)
