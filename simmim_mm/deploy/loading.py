"""How image files become the input of an exported model: the steps of its training's config."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from simmim_mm.checkpoint.stored_config import check_types
from simmim_mm.datasets.errors import UnreadableImage
from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.datasets.seeding import seeded_rng
from simmim_mm.datasets.transforms.resizing import resize
from simmim_mm.evaluation.features import loading_steps

_KEPT = ('LoadImage', 'Crop', 'Resize', 'Pad')


def _pipelines(run: Config) -> Iterator[Sequence[dict]]:
    """Those of training and validation, of the first data set of each that has one."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        parts = single_datasets((run.get(name) or {}).get('dataset') or {})
        yield next((part['pipeline'] for _, part in parts if part.get('pipeline')), [])


def type_name(step: Mapping) -> str:
    """Of a config, without its scope or module."""
    return str(step.get('type', '')).rpartition('.')[-1]


def trained_size(run: Config) -> tuple[int, int] | None:
    """Height and width of the images that a run's model was trained on, if the config says it.

    That of the last step that crops or resizes, of the training, else of the validation.
    """
    for step in [step for steps in _pipelines(run) for step in steps[::-1]]:
        size = next((step[k] for k in ('crop_size', 'scale', 'size') if step.get(k)), None)
        crops = 'Crop' in type_name(step)
        if size and (crops or 'Resize' in type_name(step)):
            height, width = (size, size) if isinstance(size, int) else size
            # the scale of mmcv's resizing has the width first
            return (width, height) if 'scale' in step and not crops else (height, width)
    return None


def loading_pipeline(run: Config, size: tuple[int, int]) -> list[dict]:
    """The steps by which a run validates, from a file to an image, with the scope of each type.

    Args:
        run: Config of a pretraining, classifier, segmenter or detector; without a pipeline, images
            are cropped and resized to ``size``.
        size: Height and width in pixels.
    """
    scope = run.get('default_scope', 'simmim_mm')
    if scope == 'simmim_mm':
        try:
            steps = loading_steps(run)
        except ValueError:  # no pipeline with a mask
            steps = []
    else:
        steps = next((steps for steps in list(_pipelines(run))[1:] if steps), [])
    steps = [step for step in steps if any(word in type_name(step) for word in _KEPT)]
    if not steps:
        scope, ratio = 'simmim_mm', size[1] / size[0]
        crop = dict(type='RandomResizedCrop', scale=size, aspect_ratio_range=(ratio, ratio))
        steps = [dict(type='LoadImage'), dict(crop, max_attempts=0)]  # the center at once
    return [
        {**step, 'type': step['type'] if '.' in step['type'] else f'{scope}.{step["type"]}'}
        for step in map(dict, steps)
    ]


def channel_order(pipeline: Sequence[Mapping], preprocessor: Mapping) -> str:
    """The order in which a model gets three channels: that of the loader, or the other."""
    flips = any(preprocessor.get(name) for name in ('to_rgb', 'bgr_to_rgb', 'rgb_to_bgr'))
    return 'BGR' if _loads_rgb(pipeline) == flips else 'RGB'


def _loads_rgb(pipeline: Sequence[Mapping]) -> bool:
    """Our loader gives RGB; mmcv's BGR, unless it is told otherwise."""
    loader = next((s for s in pipeline if 'LoadImage' in type_name(s)), {})
    return type_name(loader) == 'LoadImage' or loader.get('channel_order') == 'rgb'


class ImageLoader:
    """From image files to the input of an exported model.

    Args:
        pipeline: Steps as of :func:`loading_pipeline`; only registered ones are built.
        order: ``'RGB'``, ``'BGR'`` or ``'as loaded'``, of the model.
        size: Height and width in pixels, to which other images are resized; None: as they are.

    Raises:
        ValueError: If a step is of an unknown type.
    """

    def __init__(self, pipeline: Sequence[dict], order: str, size: tuple[int, int] | None) -> None:
        from mmengine.dataset import Compose

        check_types(pipeline, TRANSFORMS)
        self.pipeline = Compose([TRANSFORMS.build(dict(step)) for step in pipeline])
        self.flips = order != 'as loaded' and _loads_rgb(pipeline) != (order == 'RGB')
        self.size = size

    def __call__(self, path: str) -> np.ndarray:
        """``(C, H, W)`` float32, in the range of the file's values.

        Raises:
            UnreadableImage: If it cannot be loaded.
        """
        try:
            with seeded_rng(0):
                loaded: Any = self.pipeline(dict(img_path=path, sample_idx=0))
        except UnreadableImage:
            raise
        except Exception as error:  # mmcv's loader raises everything
            raise UnreadableImage(path, f'{type(error).__name__}: {error}') from error
        if loaded is None or loaded.get('img') is None:
            raise UnreadableImage(path, 'the pipeline gives no image')
        image = np.ascontiguousarray(loaded['img'][..., ::-1] if self.flips else loaded['img'])
        if self.size is not None and image.shape[:2] != tuple(self.size):
            image = resize(image, self.size)
        return image.transpose(2, 0, 1).astype(np.float32)
