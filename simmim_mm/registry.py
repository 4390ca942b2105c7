"""Registries of simmim_mm, each a child of mmengine's registry of the same name.

``locations`` are imported on the first look-up, so that ``import simmim_mm`` stays light and
``custom_imports=['simmim_mm']`` is all that a config of another library needs.
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from mmengine import registry as _root
from mmengine.registry import Registry

from simmim_mm._renamed import TYPES, warn_renamed


class _Registry(Registry):
    """Knows the types of version 0.1 by their old names too."""

    def get(self, key: str) -> Any:
        scope, name = self.split_scope_key(key)
        if name in TYPES and scope in (None, self.scope):
            warn_renamed(f'type={name!r}', f'type={TYPES[name]!r}')
            key = TYPES[name] if scope is None else f'{scope}.{TYPES[name]}'
        return super().get(key)

    def gives(self, kind: Any, base: type) -> bool:
        """Whether ``type=kind`` in a config is a class that derives from ``base``."""
        found: Any = self.get(kind) if isinstance(kind, str) else kind
        return isinstance(found, type) and issubclass(found, base)


class _ModelRegistry(_Registry):
    """Looks among backbones and parts of downstream models before it imports the pretraining."""

    def get(self, key: str) -> Any:
        scope, name = self.split_scope_key(key)
        for package in ('backbones', 'downstream'):
            import_module(f'simmim_mm.models.{package}')
            if scope in (None, self.scope) and name in self.module_dict:
                return self.module_dict[name]
        return super().get(key)

    def class_of(self, cfg: dict) -> Any:
        """The class or function that a config builds; None if there is none of that name."""
        if not isinstance(cfg['type'], str):
            return cfg['type']
        with self.switch_scope_and_registry(cfg.get('_scope_')) as registry:
            return registry.get(cfg['type'])

    def with_defaults(self, cfg: dict, **derived: Any) -> dict:
        """A config with arguments that follow from other parts of a model.

        What the config says itself stays, and what its class does not take is left out.
        """
        function = self.class_of(cfg)
        taken = _arguments(function) if function else ()
        return {**{name: derived[name] for name in derived if name in taken}, **cfg}


def _arguments(function: Callable) -> set[str]:
    """Names of the arguments of a class or function, through bases that ``**kwargs`` go on to."""
    classes = function.__mro__ if isinstance(function, type) else ()
    names: set[str] = set()
    for init in [vars(c)['__init__'] for c in classes if '__init__' in vars(c)] or [function]:
        parameters = inspect.signature(init).parameters.values()
        kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
        names.update(p.name for p in parameters if p.kind in kinds)
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return names


def _child(name: str, parent: Registry, *locations: str) -> _Registry:
    return _Registry(name, parent=parent, scope='simmim_mm', locations=list(locations))


DATASETS = _child('dataset', _root.DATASETS, 'simmim_mm.datasets')
DATA_SAMPLERS = _child('data sampler', _root.DATA_SAMPLERS, 'simmim_mm.datasets')
TRANSFORMS = _child('transform', _root.TRANSFORMS, 'simmim_mm.datasets.transforms')
FUNCTIONS = _child('function', _root.FUNCTIONS, 'simmim_mm.datasets')

_PRETRAINING = (
    'algorithms mask_fill heads losses necks target_generators teachers data_preprocessor'
)
MODELS = _ModelRegistry(
    'model',
    parent=_root.MODELS,
    scope='simmim_mm',
    locations=[f'simmim_mm.models.{name}' for name in _PRETRAINING.split()],
)

HOOKS = _child('hook', _root.HOOKS, 'simmim_mm.engine')
LOOPS = _child('loop', _root.LOOPS, 'simmim_mm.engine')
LOG_PROCESSORS = _child('log processor', _root.LOG_PROCESSORS, 'simmim_mm.engine')
OPTIMIZERS = _child('optimizer', _root.OPTIMIZERS, 'simmim_mm.engine')
OPTIM_WRAPPERS = _child('optimizer wrapper', _root.OPTIM_WRAPPERS, 'simmim_mm.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', _root.OPTIM_WRAPPER_CONSTRUCTORS, 'simmim_mm.engine'
)
PARAM_SCHEDULERS = _child('parameter scheduler', _root.PARAM_SCHEDULERS, 'simmim_mm.engine')

METRICS = _child('metric', _root.METRICS, 'simmim_mm.evaluation')
VISUALIZERS = _child('visualizer', _root.VISUALIZERS, 'simmim_mm.visualization')
VISBACKENDS = _child('visualizer backend', _root.VISBACKENDS, 'simmim_mm.visualization')
