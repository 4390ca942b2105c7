"""Registries of simmim_mm (scope ``simmim_mm``).

Each is a child of mmengine's registry of the same name. ``locations`` are imported on the first
look-up, so that ``import simmim_mm`` stays light and ``custom_imports=['simmim_mm']`` is all that a
config of mmpretrain, mmdet or mmseg needs to write ``type='simmim_mm.MaskedSwin'``.
"""

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


class _ModelRegistry(_Registry):
    """Looks among backbones and parts of downstream models before it imports the pretraining."""

    def get(self, key: str) -> Any:
        scope, name = self.split_scope_key(key)
        for package in ('backbones', 'downstream'):
            import_module(f'simmim_mm.models.{package}')
            if scope in (None, self.scope) and name in self.module_dict:
                return self.module_dict[name]
        return super().get(key)


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return _Registry(name, parent=parent, scope='simmim_mm', locations=list(locations))


DATASETS = _child('dataset', _root.DATASETS, 'simmim_mm.datasets')
DATA_SAMPLERS = _child('data sampler', _root.DATA_SAMPLERS, 'simmim_mm.datasets')
TRANSFORMS = _child('transform', _root.TRANSFORMS, 'simmim_mm.datasets.transforms')

_PRETRAINING = (
    'algorithms',
    'mask_fill',
    'heads',
    'losses',
    'necks',
    'target_generators',
    'data_preprocessor',
)
MODELS = _ModelRegistry(
    'model',
    parent=_root.MODELS,
    scope='simmim_mm',
    locations=[f'simmim_mm.models.{name}' for name in _PRETRAINING],
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
