"""Masked image modeling on pixels (SimMIM, PixMIM and relatives) as an mmengine plugin."""

import importlib
from typing import Any

from simmim_mm import _imports, _stack
from simmim_mm.version import __version__

_stack.check()  # before the first import of mmengine, so that its absence is reported in one line
_imports.install()

__all__ = ['__version__', 'registry']


def __getattr__(name: str) -> Any:
    if name == 'registry':
        return importlib.import_module('simmim_mm.registry')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
