"""Reading the config that a checkpoint carries, without running it.

mmengine stores the config as Python source and reads it by executing it. A checkpoint that somebody
else made could run anything that way, so that loading its tensors safely would be in vain.
"""

import ast
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from simmim_mm._renamed import TYPES


def parse_config(text: str) -> Config:
    """Build a config from assignments of literals, which is what mmengine stores.

    Args:
        text: ``name = value`` lines, where a value is a number, string, list, tuple, dict, set,
            ``dict(...)`` call, or any of these inside one another.

    Raises:
        ValueError: If there is anything else in it; nothing is executed.
    """
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f'it is not Python source ({error})') from None
    values = {}
    for statement in statements:
        try:
            if not (isinstance(statement, ast.Assign) and len(statement.targets) == 1):
                raise ValueError
            values[statement.targets[0].id] = ast.literal_eval(_Literals().visit(statement.value))
        except (ValueError, AttributeError, TypeError):
            source = ast.unparse(statement)[:60]
            line = f'line {statement.lineno} is code, not a setting: {source}'
            raise ValueError(line) from None
    return Config(values)


class _Literals(ast.NodeTransformer):
    """Rewrites ``dict(a=1)``, ``dict({2: 3})`` and ``inf`` as literals."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = getattr(node.func, 'id', None)
        if name != 'dict' or not all(isinstance(arg, ast.Dict) for arg in node.args):
            return node
        keys = [key for arg in node.args for key in arg.keys]
        keys += [ast.Constant(keyword.arg) for keyword in node.keywords]
        values = [value for arg in node.args for value in arg.values]
        return ast.Dict(keys, values + [keyword.value for keyword in node.keywords])

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(float(node.id)) if node.id in ('inf', 'nan') else node


def check_types(cfg: Any, registry: Registry) -> None:
    """Refuse types that are not registered.

    mmengine takes the name of any importable class or function as a type, and calls it.

    Args:
        cfg: Part of a config of unknown origin.
        registry: Where, with its relatives, the types must be known.

    Raises:
        ValueError: If a ``type`` is not in the registries.
    """
    for kind in _types(cfg):
        if not (isinstance(kind, str) and _is_registered(kind, registry)):
            raise ValueError(f'type {kind!r} is not a registered {registry.name}')


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


__all__ = ['check_types', 'parse_config']
