"""Masked image modeling on pixels (SimMIM, PixMIM and relatives) as an mmengine plugin."""

import importlib
from typing import Any

from simmim_mm import _imports, _stack
from simmim_mm.version import __version__ as __version__

_stack.check()  # before the first import of mmengine, so that its absence is reported in one line
_imports.install()

# What is imported when it is used; type checkers read the same from __init__.pyi.
_PUBLIC = [
    'convert',
    'embed',
    'export',
    'export_onnx',
    'extract_features',
    'get_config',
    'get_model',
    'list_configs',
    'list_models',
    'load_backbone',
    'pretrain',
    'quantize',
    'reconstruct',
    'registry',
]


def __getattr__(name: str) -> Any:
    """Import what is public when it is used."""
    if name == 'registry':
        return importlib.import_module('simmim_mm.registry')
    if name in _PUBLIC:
        module = 'catalog' if name.startswith('list_') else 'api'
        return getattr(importlib.import_module(f'simmim_mm.{module}'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
