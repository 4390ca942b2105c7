"""What has to happen when modules are imported, so that ``import simmim_mm`` itself is quick.

A config that says ``custom_imports=['simmim_mm']`` relies on our registries, children of those of
mmengine, which takes seconds to import. So they are made as soon as ``mmengine.registry`` is
imported, by whomever. The same finder serves the paths of modules that have moved.
"""

import importlib
import io
import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from simmim_mm._renamed import MODULES, OldModule

_WATCHED, _OURS = 'mmengine.registry', 'simmim_mm.registry'


class _Wrapper(Loader):
    """A module's usual loader, with something done besides."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)


class _ThenOurs(_Wrapper):
    """The usual loader of ``mmengine.registry``; then our registries are made."""

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        importlib.import_module(_OURS)


class _Quietly(_Wrapper):
    """The usual loader of the data sets of others, which prints what it could not import."""

    def exec_module(self, module: ModuleType) -> None:
        printed = io.StringIO()
        with redirect_stdout(printed):
            self.loader.exec_module(module)
        for line in printed.getvalue().splitlines():
            logging.getLogger(__name__).debug(line)


class _Moved(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return OldModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__path__ = []  # modules below it have moved, too


_PRINTING = ('mmpretrain.datasets', 'mmdet.datasets', 'mmseg.datasets')
_WRAPPED = {_WATCHED: _ThenOurs, **dict.fromkeys(_PRINTING, _Quietly)}


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, rest = fullname.partition('.')
        if package == 'simmim_mm' and rest in MODULES:
            return ModuleSpec(fullname, _Moved(), is_package=True)
        if fullname not in _WRAPPED:
            return None
        sys.meta_path.remove(self)  # the others know where it is
        try:
            spec = find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            spec.loader = _WRAPPED[fullname](spec.loader)
        return spec


def install() -> None:
    """Watch imports; where mmengine's registries are there already, make ours now."""
    sys.meta_path.insert(0, _Finder())
    if _WATCHED in sys.modules:
        importlib.import_module(_OURS)
