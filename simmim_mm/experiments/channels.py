"""Trainings on images that are not RGB of 8 bits: they are loaded as in the pretraining."""

from mmengine.config import Config

_OF_RGB = (
    'PhotoMetricDistortion',
    'RandAugment',
    'ColorJitter',
    'RandomErasing',
    'RandomGrayscale',
)
_ANY_CHANNELS = ('RandomResizedCrop', 'ResizeEdge')  # of this package, too


def use_loader(cfg: Config, loader: dict, preprocessor: dict) -> None:
    """Load the images of a downstream config as in the pretraining, if these were not plain RGB.

    Augmentations of colors are left out, resizing and normalization take any number of channels.

    Args:
        cfg: Of a classifier, detector or segmenter; changed.
        loader: The pretraining's ``LoadImage``.
        preprocessor: The pretraining's, with ``mean`` and ``std``.
    """
    settings = {key: value for key, value in loader.items() if key != 'type'}
    if settings in ({}, dict(channels='rgb')):
        return
    step = dict(settings, type='simmim_mm.LoadImage')
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = cfg[name].dataset
        dataset.pipeline = [_of_any_channels(s, step) for s in dataset.pipeline if _stays(s)]
    if 'test_pipeline' in cfg:  # mmseg.apis looks for this name
        cfg.test_pipeline = [_of_any_channels(s, step) for s in cfg.test_pipeline]
    own = cfg.model.get('data_preprocessor') or cfg.data_preprocessor
    for key in ('to_rgb', 'bgr_to_rgb'):
        own.pop(key, None)
    if len(preprocessor.get('mean') or ()) not in (1, 3) and own.type != 'ClsDataPreprocessor':
        own.update(type='simmim_mm.MultichannelPreprocessor', base=own.type)


def _stays(step: dict) -> bool:
    return step['type'].rpartition('.')[2] not in _OF_RGB


def _of_any_channels(step: dict, loader: dict) -> dict:
    if step['type'] == 'LoadImageFromFile':
        return loader
    if step['type'] in _ANY_CHANNELS:
        own = {key: value for key, value in step.items() if key != 'backend'}
        return dict(own, type=f'simmim_mm.{step["type"]}')
    return step
