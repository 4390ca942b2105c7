import numpy as np

from simmim_mm.datasets.transforms.foreground import foreground_of
from simmim_mm.datasets.transforms.masks import MaskTransform
from simmim_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SemanticMask(MaskTransform):
    """Masks the objects first, or the background, or a given fraction of the objects.

    Blocks are foreground or background according to the map ``gt_seg_map`` that ``LoadForeground``,
    ``BoxForeground`` or ``SaliencyForeground`` has written; within each of the two they are chosen
    at random. The number of masked blocks follows from ``mask_ratio`` in every image: where there
    are too few of one kind, more of the other are masked, and an image without any object gets the
    mask of ``RandomBlockMask``.

    Required keys: ``img``, and ``gt_seg_map`` of its size, or ValueError. Added keys: ``mask``.

    Args:
        foreground_ratio: Fraction of the foreground blocks to mask: 1 masks the foreground first,
            0 the background first, and ``mask_ratio`` the same fraction of both.
        threshold: A block is foreground if at least this fraction of its pixels is.
        **kwargs: See :class:`MaskTransform`.
    """

    def __init__(self, *args, foreground_ratio: float = 1.0, threshold: float = 0.25, **kwargs):
        super().__init__(*args, **kwargs)
        if not 0 <= foreground_ratio <= 1:
            raise ValueError(
                f'foreground_ratio must be from 0 (background first) to 1 (foreground first), '
                f'got {foreground_ratio}'
            )
        if not 0 < threshold <= 1:
            raise ValueError(f'threshold must be above 0 and at most 1, got {threshold}')
        self.foreground_ratio, self.threshold = foreground_ratio, threshold

    def draw(self, rows: int, cols: int, num_masked: int, results: dict) -> np.ndarray:
        size = self.mask_patch_size
        pixels = foreground_of(results).reshape(rows, size, cols, size).sum((1, 3))
        is_foreground = (pixels >= self.threshold * size**2).ravel()
        foreground, background = np.flatnonzero(is_foreground), np.flatnonzero(~is_foreground)
        wanted = round(self.foreground_ratio * len(foreground))
        num = min(max(wanted, num_masked - len(background)), num_masked)

        mask = np.zeros(rows * cols, dtype=bool)
        mask[np.random.permutation(foreground)[:num]] = True
        mask[np.random.permutation(background)[: num_masked - num]] = True
        return mask.reshape(rows, cols)
