"""Baselines for a reconstruction: ways to fill masked areas that learn nothing.

Each fill takes ``(image, mask)``: ``(B, C, H, W)`` in the value range of the loaded images and
``(B, h, w)`` boolean, True = masked. It returns the images filled, in the same range, and looks at
visible pixels only.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from simmim_mm._renamed import old_names
from simmim_mm.masking import upsample_mask
from simmim_mm.models.mask_fill import MeanFill, SmoothFill

if TYPE_CHECKING:
    from simmim_mm.models.algorithms import MaskedImageModel

Fill = Callable[[Tensor, Tensor], Tensor]


def mean_color_baseline(image: Tensor, mask: Tensor) -> Tensor:
    """Fill with the mean of each image's visible pixels, per channel (zero where all is masked)."""
    return MeanFill('image')(image, mask)


def smooth_baseline(image: Tensor, mask: Tensor) -> Tensor:
    """Fill with an interpolation of the visible pixels, see :class:`SmoothFill`."""
    return SmoothFill()(image, mask)


def inpaint_opencv(
    image: Tensor, mask: Tensor, method: str = 'telea', radius: float = 3.0
) -> Tensor:
    """Fill with OpenCV's inpainting: diffusion from the borders of the visible area.

    OpenCV wants 8 bits: images with values outside 0..255 are scaled by their visible range and
    back, which rounds them to 256 levels. More than three channels are filled one by one. It also
    leaves holes in the outermost row and column of an image as they are: here what they show is
    removed first, and a rim added, so that the fill does not see hidden pixels there.

    Args:
        method: ``'telea'`` (fast marching) or ``'ns'`` (Navier-Stokes).
        radius: Neighborhood in pixels that a filled pixel is taken from.
    """
    import cv2

    flags = dict(telea=cv2.INPAINT_TELEA, ns=cv2.INPAINT_NS)
    if method not in flags:
        raise ValueError(f"method must be 'telea' or 'ns', got {method!r}")
    hidden = upsample_mask(mask, image.shape[-2:])
    low, high = _range(image, hidden)
    start = mean_color_baseline(image, mask)
    levels = ((start - low) / (high - low) * 255).clamp(0, 255).round().byte().cpu().numpy()
    rim = ((1, 1), (1, 1))
    filled = np.empty_like(levels)
    for i, hole in enumerate(hidden[:, 0].byte().cpu().numpy()):
        hole = np.pad(hole, rim, constant_values=1)
        planes = np.pad(levels[i], ((0, 0), *rim), mode='edge')
        groups = [planes.transpose(1, 2, 0)] if len(planes) == 3 else list(planes)
        done = [
            cv2.inpaint(np.ascontiguousarray(g), hole, radius, flags[method])[1:-1, 1:-1]
            for g in groups
        ]
        filled[i] = done[0].transpose(2, 0, 1) if len(planes) == 3 else np.stack(done)
    result = torch.from_numpy(filled).to(image) / 255 * (high - low) + low
    return torch.where(hidden, result, image)


BASELINES: Mapping[str, Fill] = {
    'mean color': mean_color_baseline,
    'OpenCV inpainting': inpaint_opencv,
    'smooth fill': smooth_baseline,
}


@torch.no_grad()
def evaluate_baseline(fill: Fill, image: Tensor, mask: Tensor, std: Tensor) -> Tensor:
    """Error of a fill in the unit of the model's loss, ``(B,)``.

    The same formula as :class:`MaskedPixelLoss` with ``criterion='l1'`` on raw pixels, for each
    image: with e = |fill - image| / std and m the pixel mask, ``sum(e * m) / sum(m) / C``.

    Args:
        std: ``(C, 1, 1)``, the standard deviations that the data preprocessor divides by.
    """
    weight = upsample_mask(mask, image.shape[-2:])
    error = (fill(image, mask) - image).abs() / std * weight
    return error.sum((1, 2, 3)) / (weight.sum((1, 2, 3)) + 1e-5) / image.shape[1]


@torch.no_grad()
def compare_with_baselines(
    model: 'MaskedImageModel', dataloader, fills: Mapping[str, Fill] | None = None
) -> dict[str, float]:
    """Held-out masked L1 of a model beside the baselines, on the same images and masks.

    Args:
        model: The algorithm, with raw pixels as target. Put back to its mode afterwards.
        dataloader: Batches as the model takes them in validation.
        fills: Baselines by name. Default: all of :data:`BASELINES`.

    Returns:
        Mean over images of the masked L1 on normalized pixels: ``model``, then the baselines.

    Raises:
        ValueError: If the model predicts something other than pixels: there is nothing to compare.
    """
    if len(model.target):
        raise ValueError(
            'the baselines fill in pixels, but this model predicts '
            f'{" of ".join(type(g).__name__ for g in reversed(model.target))}'
        )
    fills = BASELINES if fills is None else fills
    preprocessor, training = model.data_preprocessor, model.training
    errors: dict[str, list[float]] = {name: [] for name in ('model', *fills)}
    model.eval()
    try:
        for batch in dataloader:
            data = preprocessor(batch, False)
            mask = model.stack_masks(data['data_samples'], data['inputs'])
            # Not preprocessor.denormalize(inputs): the rounding of the way there and back.
            pictures = model.reconstruct(data['inputs'], mask)
            image = pictures['original']

            def predicted(image: Tensor, mask: Tensor, result=pictures['prediction']) -> Tensor:
                return result

            for name, fill in dict(model=predicted, **fills).items():
                errors[name] += evaluate_baseline(fill, image, mask, preprocessor.std).tolist()
    finally:
        model.train(training)
    if not errors['model']:
        raise ValueError('no images to evaluate on: the validation set is empty')
    return {name: float(np.mean(values)) for name, values in errors.items()}


def _range(image: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """What is 0 and what is 255, ``(B, C, 1, 1)`` each."""
    shape = (*image.shape[:2], 1, 1)
    if float(image.min()) >= -0.5 and 1.5 < float(image.max()) <= 255.5:
        return image.new_zeros(shape), image.new_full(shape, 255.0)
    low = image.masked_fill(hidden, torch.inf).amin((2, 3), keepdim=True)
    high = image.masked_fill(hidden, -torch.inf).amax((2, 3), keepdim=True)
    known = torch.isfinite(low) & (high > low)
    return torch.where(known, low, 0.0), torch.where(known, high, 1.0)


__getattr__ = old_names(__name__)
