"""The pipeline by which a run's images are looked at: its own, without random crops and flips."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from simmim_mm.datasets.image_dataset import single_datasets

# Steps that augment; without them the rest of the pipeline still works.
_DROPPED = (
    *('Flip', 'Rotat', 'Affine', 'Perspective', 'Torchvision'),
    *('Jitter', 'Erasing', 'Blur', 'Solarize', 'Grayscale', 'AutoContrast'),
)


def evaluation_pipeline(cfg: Config) -> list[dict]:
    """Steps that load an image, bring it to the training size and mask it.

    The validation pipeline if the run had one, else the training pipeline. A random crop becomes
    the largest centered crop, resized; random flips, rotations and color changes are left out; the
    loader, the mask transform and the packing stay.

    Raises:
        ValueError: If the config has no pipeline with a mask transform.
    """
    pipelines = [_pipeline(cfg.get(name)) for name in ('val_dataloader', 'train_dataloader')]
    steps = next((p for p in pipelines if any('Mask' in _name(step) for step in p)), None)
    if steps is None:
        raise ValueError(
            'the config has no data pipeline with a mask transform: it is not the config of a '
            'masked image modeling run'
        )
    needs_foreground = any(_name(step) == 'SemanticMask' for step in steps)
    result: list[dict] = []
    for step in steps:
        if not needs_foreground and _name(step).endswith('Foreground'):
            continue
        if 'Crop' in _name(step) and 'CenterCrop' not in _name(step):
            result.append(_center_crop(step))
        elif _name(step) == 'PackInputs':
            keys = [key for key in step.get('algorithm_keys', []) if key != 'foreground']
            result.append(dict(step, algorithm_keys=keys))
        elif not any(word in _name(step) for word in _DROPPED):
            result.append(step)
    return result


def _center_crop(crop: dict) -> dict:
    """The largest centered part of the crop's aspect ratio, resized to the crop's size."""
    size = next((crop[key] for key in ('scale', 'crop_size', 'size') if key in crop), None)
    if size is None:
        raise ValueError(f'cannot tell to which size {_name(crop)} crops')
    height, width = (size, size) if isinstance(size, int) else size
    return dict(
        type='simmim_mm.RandomResizedCrop',
        scale=(height, width),
        aspect_ratio_range=(width / height, width / height),
        max_attempts=0,  # to draw a crop: it takes the center at once
        interpolation=crop.get('interpolation', 'bilinear'),
    )


def _pipeline(loader: Any) -> Sequence[dict]:
    """Pipeline of a dataloader's config, under wrappers such as RepeatDataset."""
    parts = single_datasets((loader or {}).get('dataset') or {})
    return next((part['pipeline'] for _, part in parts if part.get('pipeline')), [])


def _name(step: dict) -> str:
    return str(step.get('type', '')).rpartition('.')[-1]
