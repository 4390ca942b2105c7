"""Names of version 0.1 that go on working until 1.0, each with one warning that says the new name.

- Modules: :data:`MODULES` maps old paths to where their names are now; a finder on
  ``sys.meta_path`` serves the old ones (:mod:`simmim_mm._imports` installs it).
- Names in modules that kept their path: ``__getattr__ = old_names(__name__, Old='New')``.
- Registered types: :data:`TYPES`, looked up by our registries.
- Arguments and their values: the decorator :func:`renamed_arguments`.
"""

import functools
import importlib
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar('T', bound=Callable)

# Old module below simmim_mm: the modules that have its names now.
MODULES: dict[str, tuple[str, ...]] = {
    'convert': ('checkpoint', 'interop'),
    'convert.checkpoint': ('interop.converter',),
    'convert.common': ('interop.common',),
    'convert.convmae': ('interop.convmae',),
    'convert.diagnose': ('checkpoint.diagnose',),
    'convert.families': ('interop.families',),
    'convert.fetch': ('checkpoint.fetch',),
    'convert.huggingface': ('interop.huggingface',),
    'convert.load': ('interop.load',),
    'convert.load_backbone': ('checkpoint.load_backbone',),
    'convert.mae': ('interop.mae',),
    'convert.openmmlab': ('interop.openmmlab',),
    'convert.position_bias': ('checkpoint.position_bias',),
    'convert.rules': ('interop.rules',),
    'convert.safe_load': ('checkpoint.safe_load',),
    'convert.simmim_swin': ('interop.simmim_swin',),
    'convert.simmim_vit': ('interop.simmim_vit',),
    'convert.timm': ('interop.timm',),
    'datasets.bad_files': ('datasets.file_status',),
    'datasets.cleaning': ('curation',),
    'datasets.cleaning.files': ('curation.files',),
    'datasets.cleaning.inspection': ('curation.inspection',),
    'datasets.cleaning.report': ('curation.report',),
    'datasets.cleaning.scanning': ('curation.scan',),
    'datasets.cleaning.similarity': ('curation.duplicates',),
    'datasets.cleaning.splitting': ('curation.split',),
    'datasets.labelled': ('datasets.labeled',),
    'datasets.preflight': ('datasets.checks',),
    'datasets.scan': ('datasets.image_folder',),
    'datasets.shapes': ('experiments.shapes',),
    'engine.cli': ('cli.common',),
    'engine.downstream_preflight': ('engine.checks',),
    'engine.downstream_preflight.coco': ('engine.checks.coco',),
    'engine.downstream_preflight.common': ('engine.checks.common',),
    'engine.downstream_preflight.label_maps': ('engine.checks.segmentation_maps',),
    'engine.file_backend': ('checkpoint.file_backend',),
    'engine.preflight': ('engine.check_model',),
    'engine.progress': ('cli.progress',),
    'evaluation.tables': ('experiments.tables',),
    'export': ('interop',),
    'export.export': ('interop.export',),
    'export.geometry': ('interop.geometry',),
    'export.libraries': ('interop.libraries',),
    'export.pairs': ('interop.pairs',),
    'export.source': ('interop.source',),
    'export.to_huggingface': ('interop.to_huggingface',),
    'export.to_mmdet': ('interop.to_mmdet',),
    'export.to_mmpretrain': ('interop.to_mmpretrain',),
    'export.to_mmseg': ('interop.to_mmseg',),
    'export.to_timm': ('interop.to_timm',),
    'export.verify': ('interop.verify',),
    'export.writing': ('interop.writing',),
    'models.algorithms.simmim': ('models.algorithms.masked_image_model',),
    'models.backbones.fit_weights': ('checkpoint.fit_weights',),
    'models.fills': ('models.mask_fill',),
    'models.fills.base': ('models.mask_fill.base',),
    'models.fills.constant': ('models.mask_fill.constant',),
    'models.fills.mean': ('models.mask_fill.mean',),
    'models.fills.noise': ('models.mask_fill.noise',),
    'models.losses.colour_bins': ('models.losses.color_bins',),
    'models.targets': ('models.target_generators',),
    'models.targets.base': ('models.target_generators.base',),
    'models.targets.hog': ('models.target_generators.hog',),
    'models.targets.local_norm': ('models.target_generators.local_norm',),
    'models.targets.low_freq': ('models.target_generators.low_freq',),
    'models.targets.low_resolution': ('models.target_generators.low_resolution',),
    'models.targets.norm_pix': ('models.target_generators.norm_pix',),
    'models.targets.unit_range': ('models.target_generators.unit_range',),
    'models.transfer': ('models.downstream',),
    'models.transfer.frozen_classifier': ('models.downstream.frozen_classifier',),
    'models.transfer.pooling': ('models.downstream.pooling',),
    'models.transfer.simple_feature_pyramid': ('models.downstream.simple_feature_pyramid',),
    'trials': ('experiments',),
    'trials.coco_json': ('experiments.coco_json',),
    'trials.downstream': ('experiments.downstream',),
    'trials.knn_probe': ('experiments.knn_probe',),
    'trials.label_maps': ('experiments.label_maps',),
    'trials.labelled_data': ('experiments.labeled_data',),
    'trials.preflight': ('experiments.checks',),
    'trials.pretrained': ('experiments.pretrained',),
    'trials.report': ('experiments.report',),
    'trials.run': ('experiments.run',),
    'trials.scalars': ('experiments.scalars',),
    'trials.scheduler': ('experiments.scheduler',),
    'trials.study': ('experiments.sweep',),
    'trials.trial': ('experiments.trial',),
    'visualization.evaluation_pipeline': ('datasets.evaluation_pipeline',),
    'visualization.stored_config': ('checkpoint.stored_config',),
}
# Old name to new name, of classes, functions and constants, in whichever module.
NAMES = {
    'ColourBins': 'ColorBins',
    'FIGURE': 'METRIC',
    'FIGURES': 'TASK_METRICS',
    'FILLS': 'BASELINES',
    'FileLedger': 'FileStatus',
    'GREY': 'GRAY',
    'LabelledData': 'LabeledData',
    'LabelledImages': 'LabeledImages',
    'SimMIM': 'MaskedImageModel',
    'Study': 'Sweep',
    'box_shares': 'box_fractions',
    'choose_bands': 'choose_channels',
    'compare_with_fills': 'compare_with_baselines',
    'evaluate_fill': 'evaluate_baseline',
    'hide_pixels': 'zero_masked_pixels',
    'known_figures': 'known_metrics',
    'labelled_images': 'labeled_images',
    'load_study': 'load_sweep',
    'mask_share': 'masked_fraction',
    'mean_colour_fill': 'mean_color_baseline',
    'settle_loaders': 'adapt_dataloaders',
    'study_cases': 'sweep_cases',
    'summarise': 'summarize',
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


def old_names(module: str, **names: str) -> Callable[[str], Any]:
    """A ``__getattr__`` for names that changed in a module: ``old_names(__name__, Old='New')``."""

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f'module {module!r} has no attribute {name!r}')
        warn_renamed(f'{module}.{name}', f'{module}.{names[name]}')
        return getattr(importlib.import_module(module), names[name])

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
        for old, new in names.items():
            if old not in kwargs:
                continue
            if new in kwargs:
                raise TypeError(f'{owner} got both {new} and its old name {old}')
            new_text = f'now {new}=...' if new else 'no longer needed: leave it out'
            _warn_once(f'{owner}({old}=...) is {new_text}')
            value = kwargs.pop(old)
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


class OldModule(ModuleType):
    """Stands at the path of a module that has moved; hands out what is elsewhere now."""

    def __getattr__(self, name: str) -> Any:
        old = self.__name__.removeprefix('simmim_mm.')
        if not name.startswith('__'):
            for path in MODULES[old]:
                module = importlib.import_module(f'simmim_mm.{path}')
                for candidate in (name, NAMES.get(name, name)):
                    if hasattr(module, candidate):
                        warn_renamed(f'{self.__name__}.{name}', f'{module.__name__}.{candidate}')
                        return getattr(module, candidate)
        raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
