"""Masks made of rectangles of blocks, with an exact total.

A given number of blocks is rarely the area of a rectangle that fits, so the last rectangle may lack
a part of its last row or column.
"""

from collections.abc import Sequence
from math import ceil, log, sqrt

import numpy as np

from simmim_mm.datasets.transforms.masks import MaskTransform
from simmim_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SquareMask(MaskTransform):
    """One square at a random place (SimMIM paper, table 1, "square").

    Sides are whole blocks: ``round(sqrt(n * mask_ratio))`` of them, where the image has ``n``;
    ``rounding`` has no effect. The masked fraction is that of the square, the same in all images of
    a size; smaller blocks come closer to ``mask_ratio`` and allow more places.

    Raises:
        ValueError: If the square has no block or does not fit into the image.
    """

    def num_masked(self, num_blocks: int) -> int:
        return round(sqrt(num_blocks * self.mask_ratio)) ** 2

    def draw(self, rows: int, cols: int, num_masked: int, results: dict) -> np.ndarray:
        side = round(sqrt(num_masked))
        if not 0 < side <= min(rows, cols):
            raise ValueError(
                f'mask_ratio={self.mask_ratio} of {rows} x {cols} blocks of '
                f'{self.mask_patch_size} pixels is a square of side {side}: '
                + ('use smaller blocks' if side == 0 else 'use a lower ratio or RectangleMask')
            )
        mask = np.zeros((rows, cols), dtype=bool)
        top = np.random.randint(rows - side + 1)
        left = np.random.randint(cols - side + 1)
        mask[top : top + side, left : left + side] = True
        return mask


class _Rectangles(MaskTransform):
    """Rectangles of random aspect ratios, height : width between the two of ``aspect_range``."""

    def __init__(self, *args, aspect_range: Sequence[float] = (0.3, 1 / 0.3), **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if len(aspect_range) != 2 or not 0 < aspect_range[0] <= aspect_range[1]:
            raise ValueError(
                'aspect_range must be the lowest and highest height : width, above 0, '
                f'got {aspect_range!r}'
            )
        self.aspect_range = tuple(aspect_range)

    def _draw_aspect(self) -> float:
        low, high = self.aspect_range
        return float(np.exp(np.random.uniform(log(low), log(high))))

    @staticmethod
    def _mask_new(window: np.ndarray, at_most: int) -> int:
        """Mask a window, a view of the mask, up to a number of new blocks; returns that number.

        What is left over is a part of the rows, or columns, at a random side.
        """
        num_new = int(window.size - np.count_nonzero(window))
        if num_new > at_most:
            turned = np.rot90(window, np.random.randint(4))
            turned[tuple(index[:at_most] for index in np.nonzero(~turned))] = True
            return at_most
        window[:] = True
        return num_new


@TRANSFORMS.register_module()
class RectangleMask(_Rectangles):
    """One or more rectangles at random places, which may touch and overlap.

    Each adds the same number of blocks: it is enlarged until it does.

    Args:
        num_rectangles: How many.
        aspect_range: Lowest and highest height : width. The image's own limits come first.
        **kwargs: See :class:`MaskTransform`.
    """

    def __init__(self, *args, num_rectangles: int = 1, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(num_rectangles, int) or num_rectangles < 1:
            raise ValueError(f'num_rectangles must be 1 or more, got {num_rectangles!r}')
        self.num_rectangles = num_rectangles

    def draw(self, rows: int, cols: int, num_masked: int, results: dict) -> np.ndarray:
        mask = np.zeros((rows, cols), dtype=bool)
        done = 0
        for i in range(1, self.num_rectangles + 1):
            wanted = num_masked * i // self.num_rectangles - done
            if wanted:
                done += self._mask_new(self._free_window(mask, wanted), wanted)
        return mask

    def _free_window(self, mask: np.ndarray, wanted: int) -> np.ndarray:
        """A rectangle of ``mask``, as a view, in which at least ``wanted`` blocks are visible."""
        rows, cols = mask.shape
        aspect, (y, x) = self._draw_aspect(), np.random.random_sample(2)
        area = wanted
        while True:
            height = min(max(round(sqrt(area * aspect)), 1), rows)
            width = min(ceil(area / height), cols)
            height = min(max(height, ceil(area / width)), rows)
            top, left = int(y * (rows - height + 1)), int(x * (cols - width + 1))
            window = mask[top : top + height, left : left + width]
            missing = wanted - (window.size - np.count_nonzero(window))
            if missing <= 0:
                return window
            area += missing  # in the end the window is the whole image, which has enough


@TRANSFORMS.register_module()
class BlockWiseMask(_Rectangles):
    """BEiT's block-wise masking: rectangles until enough is masked (2106.08254, algorithm 1).

    Each is of a random area, from ``min_area`` to all that is still to be masked. BEiT stops when
    ten rectangles in a row mask too much, with up to a few blocks less than asked for; here the
    last rectangle is cut, so that the number is the same in every image.

    Args:
        min_area: Smallest rectangle, as a fraction of the image. BEiT: 16 of 196 blocks.
        aspect_range: Lowest and highest height : width.
        **kwargs: See :class:`MaskTransform`.
    """

    def __init__(self, *args, min_area: float = 16 / 196, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not 0 <= min_area < 1:
            raise ValueError(f'min_area must be a fraction of the image, 0 to 1, got {min_area}')
        self.min_area = min_area

    def draw(self, rows: int, cols: int, num_masked: int, results: dict) -> np.ndarray:
        mask = np.zeros((rows, cols), dtype=bool)
        todo = num_masked
        while todo:
            area = np.random.uniform(min(self.min_area * mask.size, todo), todo)
            aspect = self._draw_aspect()
            height = min(max(round(sqrt(area * aspect)), 1), rows)
            width = min(max(round(sqrt(area / aspect)), 1), cols)
            top = np.random.randint(rows - height + 1)
            left = np.random.randint(cols - width + 1)
            todo -= self._mask_new(mask[top : top + height, left : left + width], todo)
        return mask
