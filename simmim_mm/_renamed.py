"""Names of version 0.1 that go on working until 1.0, each with one warning that says the new name.

- Modules: :data:`MODULES`, served by the finder of :mod:`simmim_mm._imports`.
- Names in modules that kept their path: ``__getattr__ = old_names(__name__)``.
- Registered types: :data:`TYPES`, looked up by our registries.
- Arguments and their values: the decorator :func:`renamed_arguments`.
- Attributes and methods, also those that users' subclasses define: :func:`renamed_attributes`.
"""

import functools
import importlib
import warnings
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar('T', bound=Callable)
C = TypeVar('C', bound=type)

# Old module below simmim_mm to the modules that have its names now.
MODULES: dict[str, tuple[str, ...]] = {
    'convert': ('checkpoint', 'interop'),
    'convert.checkpoint': ('interop.converter',),
    'convert.common': ('interop.family', 'interop.keymap', 'interop.vit'),
    'convert.convmae': ('interop.conv_mae',),
    'convert.families': ('interop.registry', 'interop.family'),
    'convert.huggingface': ('interop.registry', 'interop.converter'),
    'convert.load': ('interop.converter', 'checkpoint.load'),
    'convert.mae': ('interop.mae',),
    'convert.openmmlab': ('interop.registry',),
    'convert.rules': ('interop.keymap',),
    'convert.simmim_swin': ('interop.swin',),
    'convert.simmim_vit': ('interop.beit',),
    'convert.timm': ('interop.registry', 'interop.family', 'interop.keymap', 'interop.vit'),
    'datasets.bad_files': ('datasets.image_dataset',),
    'datasets.cleaning': ('curation',),
    'datasets.cleaning.scanning': ('curation.scan',),
    'datasets.cleaning.similarity': ('curation.duplicates',),
    'datasets.cleaning.splitting': ('curation.split',),
    'datasets.labelled': ('engine.checks.labels',),
    'datasets.list_file': ('datasets.image_folder',),
    'datasets.preflight': ('engine.checks',),
    'datasets.scan': ('datasets.image_folder',),
    'datasets.shapes': ('experiments.shapes',),
    'engine.cli': ('cli.common',),
    'engine.downstream_preflight': ('engine.checks', 'engine.checks.labels'),
    'engine.downstream_preflight.coco': ('engine.checks.coco',),
    'engine.downstream_preflight.common': ('datasets.errors',),
    'engine.downstream_preflight.label_maps': ('engine.checks.segmentation_maps',),
    'engine.file_backend': ('checkpoint.file_backend',),
    'engine.preflight': ('engine.checks',),
    'engine.progress': ('cli.common',),
    'evaluation.tables': ('experiments.tables',),
    'export': ('interop',),
    'export.geometry': ('interop.export', 'interop.swin'),
    'export.pairs': ('interop.registry',),
    'export.source': ('interop.export',),
    'export.to_huggingface': ('interop.swin', 'interop.vit', 'interop.beit'),
    'export.to_mmdet': ('interop.swin',),
    'export.to_mmpretrain': ('interop.swin', 'interop.vit', 'interop.beit'),
    'export.to_mmseg': ('interop.swin', 'interop.vit', 'interop.beit'),
    'export.to_timm': ('interop.swin', 'interop.vit', 'interop.beit'),
    'export.verify': ('interop.exporter',),
    'export.writing': ('interop.libraries',),
    'models.algorithms.simmim': ('models.algorithms.masked_image_model',),
    'models.algorithms.compatibility': ('models.algorithms.masked_image_model',),
    'models.backbones.fit_weights': ('checkpoint.fit_weights',),
    'models.backbones.mask_token': ('masking.grid',),
    'models.backbones.patch_merging': ('models.backbones.masked_swin',),
    'models.backbones.pretrained': ('models.backbones.base',),
    'models.backbones.swin_parts': ('models.backbones.masked_swin',),
    'models.backbones.window_layout': ('models.backbones.window_attention',),
    'models.fills': ('models.mask_fill',),
    'models.fills.base': ('models.mask_fill',),
    'models.fills.constant': ('models.mask_fill',),
    'models.fills.mean': ('models.mask_fill',),
    'models.fills.noise': ('models.mask_fill',),
    'models.losses.base': ('models.losses.pixel_loss',),
    'models.losses.colour_bins': ('models.losses.color_bins',),
    'models.losses.masked_pixel_loss': ('models.losses.pixel_loss',),
    'models.losses.pixel_cross_entropy': ('models.losses.pixel_loss',),
    'models.necks.mlp_decoder': ('models.necks.pixel_shuffle_decoder',),
    'models.pixel_stats': ('models.data_preprocessor',),
    'models.targets': ('models.target_generators',),
    'models.transfer': ('models.downstream',),
    'trials': ('experiments',),
    'trials.coco_json': ('experiments.coco_json', 'datasets.readers.coco'),
    'trials.label_maps': ('experiments.segmentation_maps',),
    'trials.labelled_data': ('experiments.labeled_data',),
    'trials.preflight': ('experiments.pretrained',),
    'trials.study': ('experiments.sweep',),
    'visualization.evaluation_pipeline': ('datasets.evaluation_pipeline',),
    'visualization.stored_config': ('checkpoint.stored_config',),
}
# Old package, the new one, and the modules that have kept their names in it.
_PACKAGES = (
    ('convert', 'checkpoint', 'diagnose fetch load_backbone position_bias safe_load'),
    ('datasets.cleaning', 'curation', 'files inspection report'),
    ('export', 'interop', 'export libraries'),
    ('models.targets', 'models.target_generators', 'base hog local_norm low_freq low_resolution'),
    ('models.targets', 'models.target_generators', 'norm_pix unit_range'),
    ('models.transfer', 'models.downstream', 'frozen_classifier pooling simple_feature_pyramid'),
    ('trials', 'experiments', 'downstream knn_probe pretrained report run scalars scheduler trial'),
)
MODULES |= {
    f'{old}.{name}': (f'{new}.{name}',) for old, new, names in _PACKAGES for name in names.split()
}
# Old name to new name, of classes, functions and constants, in whichever module; or in one, whose
# old path then stands before the name. A new name with a path is in that module.
NAMES = {
    'BackboneReport': 'LoadReport',
    'ColourBins': 'ColorBins',
    'Bands': 'DecodedImage',
    'FIGURE': 'METRIC',
    'FIGURES': 'TASK_METRICS',
    'FILLS': 'BASELINES',
    'FileLedger': 'FileStatus',
    'GREY': 'GRAY',
    'LabelledData': 'LabeledData',
    'LabelledImages': 'LabeledImages',
    'PretrainedBackbone': 'BaseMaskedBackbone',
    'SimMIM': 'MaskedImageModel',
    'Study': 'Sweep',
    'Units': 'VisibleUnits',
    'accelerate': 'swap_attention',
    'box_shares': 'box_fractions',
    'check_classes': 'check_labels',
    'check_downstream_data': 'check_run',
    'check_label_maps': 'check_segmentation_maps',
    'check_mask': 'fit_mask',
    'choose_bands': 'choose_channels',
    'compare_with_fills': 'compare_with_baselines',
    'convert.common.settle': 'complete_arguments',
    'convert.common.side': 'square_side',
    'convert.huggingface.FAMILIES': 'HUGGINGFACE',
    'convert.openmmlab.FAMILIES': 'OPENMMLAB',
    'convert.simmim_swin.V1': 'SIMMIM',
    'convert.simmim_swin.V2': 'SIMMIM_V2',
    'convert.simmim_vit.FAMILY': 'SIMMIM',
    'convert.timm.BEIT': 'beit.TIMM',
    'convert.timm.FAMILIES': 'TIMM',
    'convert.timm.OFFICIAL_SWIN': 'swin.MICROSOFT',
    'convert.timm.OFFICIAL_SWIN_V2': 'swin.MICROSOFT_V2',
    'convert.timm.PREFIX': 'ENCODER',
    'convert.timm.SWIN': 'swin.TIMM',
    'convert.timm.SWIN_V2': 'swin.TIMM_V2',
    'convert.timm.VIT': 'vit.TIMM',
    'convert.timm.not_stored': 'not_written',
    'datasets.check_dataset': 'simmim_mm.engine.checks.check_dataset',
    'evaluate_fill': 'evaluate_baseline',
    'export.pairs.FAMILIES': 'BACKBONES',
    'find_label_maps': 'find_segmentation_maps',
    'hide_pixels': 'zero_masked_pixels',
    'known_figures': 'known_metrics',
    'labelled_images': 'labeled_images',
    'load_study': 'load_sweep',
    'looks_like': 'describe_file',
    'mask_share': 'masked_fraction',
    'mean_colour_fill': 'mean_color_baseline',
    'read_label_maps': 'read_segmentation_maps',
    'replace_masked_map': 'replace_masked',
    'settle_loaders': 'adapt_dataloaders',
    'some': 'first_few',
    'study_cases': 'sweep_cases',
    'summarise': 'summarize',
    'write_folder': 'write_export',
}
NAMES |= {
    f'export.to_{library}.{architecture}': f'{architecture}_to_{library}'
    for library in ('mmpretrain', 'mmdet', 'mmseg', 'timm', 'huggingface')
    for architecture in ('swin', 'swin_v2', 'vit', 'beit')
}
# Old registered type to the new one.
TYPES = {'ColourBins': 'ColorBins', 'SimMIM': 'MaskedImageModel'}

_warned: set[str] = set()


def warn_renamed(old: str, new: str) -> None:
    """Say once in a process that ``old`` is called ``new`` now."""
    _warn_once(f'{old} is now {new}')


def _warn_once(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        text += '; the old name works until simmim_mm 1.0'
        warnings.warn(text, FutureWarning, stacklevel=4)


def old_names(module: str) -> Callable[[str], Any]:
    """A ``__getattr__`` that hands out what has another name now, by :data:`NAMES`."""
    old = module.removeprefix('simmim_mm.')

    def __getattr__(name: str) -> Any:
        path, _, new = NAMES.get(f'{old}.{name}', NAMES.get(name, '')).rpartition('.')
        found = importlib.import_module(path or module) if new else None
        if not hasattr(found, new):
            raise AttributeError(f'module {module!r} has no attribute {name!r}')
        warn_renamed(f'{module}.{name}', f'{path or module}.{new}')
        return getattr(found, new)

    return __getattr__


def renamed_arguments(
    values: dict[str, dict[str, str]] | None = None, **names: str | None
) -> Callable[[T], T]:
    """Decorator of a class or function: keyword arguments that have a new name.

    Args:
        values: By (new) argument, old values that have a new spelling.
        **names: Old name to new name; None for an argument that is no longer needed, which is
            taken and dropped.
    """

    def renewed(owner: str, kwargs: dict[str, Any]) -> dict[str, Any]:
        for old in [name for name in names if name in kwargs]:
            new, value = names[old], kwargs.pop(old)
            if new in kwargs:
                raise TypeError(f'{owner} got both {new} and its old name {old}')
            new_text = f'now {new}=...' if new else 'no longer needed: leave it out'
            _warn_once(f'{owner}({old}=...) is {new_text}')
            if new is not None:
                kwargs[new] = value
        for name, spellings in (values or {}).items():
            value = kwargs.get(name)
            if isinstance(value, str) and value in spellings:
                _warn_once(f'{owner}({name}={value!r}) is now {spellings[value]!r}')
                kwargs[name] = spellings[value]
        return kwargs

    def decorate(thing: T) -> T:
        called: Any = thing.__init__ if isinstance(thing, type) else thing

        @functools.wraps(called)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return called(*args, **renewed(thing.__name__, kwargs))

        if not isinstance(thing, type):
            return wrapper  # type: ignore[return-value]  # of the same signature
        setattr(thing, '__init__', wrapper)  # noqa: B010  pyright takes an assignment for a mistake
        return thing  # type: ignore[return-value]  # isinstance narrows it to type

    return decorate


class _OldAttribute:
    """Stands in a class for an attribute or method that has a new name there."""

    def __init__(self, cls: type, old: str, new: str) -> None:
        self.cls, self.old, self.new = cls, old, new

    def __get__(self, instance: Any, owner: type) -> Any:
        warn_renamed(f'{self.cls.__name__}.{self.old}', f'{self.cls.__name__}.{self.new}')
        target = owner if instance is None else instance
        # reached by super() from subclasses that define the old name: they come before
        for base in reversed(owner.__mro__[: owner.__mro__.index(self.cls)]):
            if self.old in vars(base):
                return getattr(super(base, target), self.new)
        return getattr(target, self.new)

    def __set__(self, instance: Any, value: Any) -> None:
        warn_renamed(f'{self.cls.__name__}.{self.old}', f'{self.cls.__name__}.{self.new}')
        setattr(instance, self.new, value)


def renamed_attributes(values: dict[str, str] | None = None, **names: str) -> Callable[[C], C]:
    """Class decorator: attributes and methods that have a new name.

    The old name gives the new one, and a subclass that defines the old name defines the new one.

    Args:
        values: Old values that have a new spelling.
        **names: Old name to new name.
    """

    def decorate(cls: C) -> C:
        for old, new in names.items():
            setattr(cls, old, _OldAttribute(cls, old, new))

        def __init_subclass__(subclass: type, **kwargs: Any) -> None:
            super(cls, subclass).__init_subclass__(**kwargs)
            for old, new in names.items():
                if old in vars(subclass):
                    warn_renamed(f'{subclass.__name__}.{old}', f'{subclass.__name__}.{new}')
                    value = vars(subclass)[old]
                    if isinstance(value, str):
                        value = (values or {}).get(value, value)
                    setattr(subclass, new, value)

        setattr(cls, '__init_subclass__', classmethod(__init_subclass__))  # noqa: B010  as above
        return cls

    return decorate


class OldModule(ModuleType):
    """Stands at the path of a module that has moved; hands out what is elsewhere now.

    It can be called because ``simmim_mm.convert`` and ``simmim_mm.export`` are functions now.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        api = importlib.import_module('simmim_mm.api')
        return getattr(api, self.__name__.removeprefix('simmim_mm.'))(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        old = self.__name__.removeprefix('simmim_mm.')
        if not name.startswith('__'):
            for path in MODULES[old]:
                module = importlib.import_module(f'simmim_mm.{path}')
                for candidate in (NAMES.get(f'{old}.{name}', name), NAMES.get(name, name)):
                    with suppress(AttributeError):
                        found = attrgetter(candidate)(module)
                        warn_renamed(f'{self.__name__}.{name}', f'{module.__name__}.{candidate}')
                        return found
        raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
