"""A pretrained model together with its own way of loading images, for looking at what it does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from PIL import Image
from torch import Tensor

from simmim_mm._renamed import renamed_arguments
from simmim_mm.checkpoint import LoadReport, building_from, load_into, open_run
from simmim_mm.datasets import sample_seed, seeded_rng
from simmim_mm.datasets.evaluation_pipeline import evaluation_pipeline
from simmim_mm.datasets.transforms.resizing import resize
from simmim_mm.models.algorithms import MaskedImageModel
from simmim_mm.registry import MODELS, TRANSFORMS
from simmim_mm.visualization.grid import (
    compose,
    display_range,
    hatch,
    shrink,
    target_note,
    to_rgb,
)
from simmim_mm.visualization.painted_mask import (
    load_painted_mask,
    mask_tokens,
    resized_mask,
    window_around,
)

MAX_SIDE = 640  # of an image with a painted mask, in pixels


class Reconstructor:
    """Draws what a pretrained model predicts.

    Args:
        model: The algorithm, with weights.
        pipeline: From an image file to model inputs with a mask.
        config: Config of the run.
        missing: Names of weights that the checkpoint did not hold.
    """

    def __init__(
        self,
        model: MaskedImageModel,
        pipeline: Compose,
        config: Config,
        missing: Sequence[str] = (),
    ) -> None:
        self.model = model.eval()
        self.pipeline, self.config = pipeline, config
        self.missing = list(missing)

    @classmethod
    def from_checkpoint(
        cls, path: str | Path, config: Config | None = None, device: str = 'cpu'
    ) -> 'Reconstructor':
        """Build a model and its pipeline from a checkpoint; nothing that it holds is executed.

        Args:
            path: The checkpoint.
            config: Instead of the config in the checkpoint.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not a checkpoint, carries no config, or has no encoder weights that
                fit.
        """
        given = config
        config, state = open_run(path, given, _parts)
        with building_from(path, given):
            (model_cfg, _), (steps, _) = _parts(config)
            if 'neck' in model_cfg and model_cfg['neck'] is None:
                raise ValueError(f'{path}: this model predicts features only: nothing to draw')
            model = MODELS.build(model_cfg)
            if not model.invertible:
                raise ValueError(
                    f'{path}: what this model predicts is not an image: nothing to draw'
                )
            pipeline = Compose(steps)
        report = load_into(model, state, file=str(path), check=LoadReport.require_backbone)
        return cls(model.to(device), pipeline, config, report.missing)

    def note(self, stats: str) -> str:
        """What has to be said below a picture; see :func:`target_note`."""
        return target_note(self.model.target, stats)

    def reconstruct(
        self, paths: Sequence[str | Path], seed: int = 0, stats: str = 'true'
    ) -> dict[str, Tensor]:
        """:meth:`MaskedImageModel.reconstruct` of image files, under masks drawn as in training.

        Args:
            seed: Other masks for another seed.
            stats: See :meth:`TargetGenerator.invert`.

        Raises:
            UnreadableImage: If one of the files cannot be loaded.
        """
        samples = []
        for index, path in enumerate(paths):
            with seeded_rng(sample_seed(seed, -1, index)):
                samples.append(self.pipeline(dict(img_path=str(path), sample_idx=index)))
        data = self.model.data_preprocessor(pseudo_collate(samples), False)
        mask = self.model.stack_masks(data['data_samples'], data['inputs'])
        pictures = self.model.reconstruct(data['inputs'], mask, stats)
        return {name: picture.cpu() for name, picture in pictures.items()}

    def load(self, path: str | Path) -> np.ndarray:
        """An image file ``(H, W, C)`` in full size, as the run loads it.

        Raises:
            UnreadableImage: If it cannot be loaded.
        """
        loaded: Any = self.pipeline.transforms[0](dict(img_path=str(path)))
        return loaded['img']

    @renamed_arguments(mask_path='mask')
    def fill(
        self, path: str | Path, mask: str | Path | np.ndarray, stats: str = 'visible'
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fill a hole that was painted over an image.

        The model sees a part of the image around the hole at the size it was trained with, without
        all tokens that the hole touches. Only pixels inside the hole change.

        Args:
            mask: File of the painted mask, see :func:`load_painted_mask`; or a boolean array, True
                = hole, of any size, laid over the whole image.
            stats: See :meth:`TargetGenerator.invert`.

        Returns:
            The image ``(H, W, C)`` in full size, the hole ``(H, W)`` boolean, and the filled image.

        Raises:
            ValueError: If the hole leaves nothing visible, or nothing is painted.
        """
        with seeded_rng(0):
            sample: Any = self.pipeline(dict(img_path=str(path), sample_idx=0))
        size = tuple(sample['inputs'].shape[-2:])
        drawn = self.model.stack_masks([sample['data_samples']], sample['inputs'][None])
        grid = (drawn.shape[1], drawn.shape[2])
        image = self.load(path)
        if isinstance(mask, np.ndarray):
            name, hole = 'the mask', resized_mask(mask, image.shape[:2])
            if not hole.any():
                raise ValueError('nothing is painted: draw the hole over the image')
        else:
            name, hole = str(mask), load_painted_mask(mask, image.shape[:2])
        top, left, height, width = window_around(hole, size)
        window = np.s_[top : top + height, left : left + width]

        tokens = mask_tokens(hole[window], grid)
        if tokens.all():
            raise ValueError(
                f'{name} touches all {grid[0]}x{grid[1]} tokens around it and leaves nothing '
                'to predict from: paint a smaller hole'
            )
        preprocessor = self.model.data_preprocessor
        inputs = torch.from_numpy(resize(image[window], size)).permute(2, 0, 1)[None]
        inputs = preprocessor.normalize(inputs.to(preprocessor.mean.device))
        prediction = self.model.reconstruct(inputs, tokens[None].to(inputs.device), stats)
        prediction = prediction['prediction'][0].permute(1, 2, 0).float().cpu().numpy()
        if image.dtype == np.uint8:
            prediction = prediction.clip(0, 255).round()
        prediction = resize(np.ascontiguousarray(prediction), (height, width))
        filled = image.astype(np.float32)
        filled[window][hole[window]] = prediction[hole[window]]
        return image, hole, filled

    def draw_filled(
        self,
        path: str | Path,
        mask: str | Path | np.ndarray,
        stats: str = 'visible',
        channels: Sequence[int] | None = None,
    ) -> Image.Image:
        """What :meth:`fill` gives, as a picture: the original, the hole, and the filled image.

        Args:
            channels: To show, see :func:`choose_channels`.
        """
        image, hole, filled = self.fill(path, mask, stats)
        original, filled = (x.astype(np.float32).transpose(2, 0, 1) for x in (image, filled))
        limits = display_range(original)
        shown = to_rgb(original, limits, channels)
        row = [shown, hatch(shown, hole), to_rgb(filled, limits, channels)]
        row = [shrink(image, MAX_SIDE) for image in row]
        return compose([row], ['original', 'masked', 'filled'], self.note(stats))


def _parts(config: Config) -> list:
    # a teacher, whose file may be gone, has no part in it
    model = {k: v for k, v in config.model.items() if k not in ('init_cfg', 'teacher')}
    return [(model, MODELS), (evaluation_pipeline(config), TRANSFORMS)]
