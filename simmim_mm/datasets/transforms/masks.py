from abc import ABCMeta, abstractmethod
from math import gcd

import numpy as np
from mmcv.transforms import BaseTransform

from simmim_mm.registry import TRANSFORMS


class MaskTransform(BaseTransform, metaclass=ABCMeta):
    """Base of the mask generators: draws blocks, writes the mask on the backbone's token grid.

    A subclass implements :meth:`draw`. Random numbers must come from ``numpy.random``'s global
    functions, which ``ImageDataset`` seeds for each sample.

    Required keys: ``img``, whose first two axes are height and width, which may differ.
    Added keys: ``mask``, bool ``(H / token_stride, W / token_stride)``, True where masked.

    Args:
        mask_patch_size: Side of a block in pixels. Has to divide the image's height and width.
        token_stride: Side of a token in pixels (4 for Swin, 16 for ViT). Has to divide
            ``mask_patch_size``.

    Raises:
        ValueError: If a size does not divide the other.
    """

    def __init__(self, mask_patch_size: int = 32, token_stride: int = 4):
        for name, value in dict(mask_patch_size=mask_patch_size, token_stride=token_stride).items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'{name} must be a positive number of pixels, got {value!r}')
        if mask_patch_size % token_stride:
            raise ValueError(
                f'mask_patch_size={mask_patch_size} is not a multiple of '
                f'token_stride={token_stride}; a block has to cover whole tokens: choose '
                f'{max(1, mask_patch_size // token_stride) * token_stride}, for example'
            )
        self.mask_patch_size = mask_patch_size
        self.token_stride = token_stride

    @abstractmethod
    def draw(self, rows: int, cols: int) -> np.ndarray:
        """Bool ``(rows, cols)`` over the blocks, True where masked."""

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        size = self.mask_patch_size
        if height % size or width % size:
            raise ValueError(self._does_not_divide(height, width))
        tokens = size // self.token_stride
        blocks = self.draw(height // size, width // size)
        results['mask'] = blocks.repeat(tokens, axis=0).repeat(tokens, axis=1)
        return results

    def _does_not_divide(self, height: int, width: int) -> str:
        common = gcd(height, width)
        sizes = range(self.token_stride, common + 1, self.token_stride)
        fitting = [str(size) for size in sizes if common % size == 0]
        advice = (
            f'choose a mask_patch_size that does ({", ".join(fitting)})'
            if fitting
            else f'crop to multiples of token_stride={self.token_stride} first'
        )
        return (
            f'mask_patch_size={self.mask_patch_size} does not divide the image of '
            f'{height} x {width} pixels (height x width): {advice}, or change the crop size'
        )

    def __repr__(self) -> str:
        args = ', '.join(f'{k}={v!r}' for k, v in vars(self).items() if not k.startswith('_'))
        return f'{type(self).__name__}({args})'


@TRANSFORMS.register_module()
class RandomBlockMask(MaskTransform):
    """SimMIM's mask: blocks chosen at random, without replacement (paper, section 3.2).

    Of ``n`` blocks the same number is masked in every image:

    - ``rounding='ceil_masked'``: ``ceil(n * mask_ratio)`` masked blocks, as in SimMIM;
    - ``rounding='floor_visible'``: ``int(n * (1 - mask_ratio))`` visible blocks, as in MAE and its
      relatives.

    On paper the two agree. In floating point they may differ by one (``ceil(100 * 0.55)`` is 56,
    because the product is 55.00000000000001), which is why both are kept as their authors compute
    them.

    Args:
        mask_patch_size: Side of a block in pixels.
        mask_ratio: Share of the blocks to mask, above 0 and below 1.
        token_stride: Side of a token in pixels.
        rounding: See above.

    Raises:
        ValueError: If a size does not divide the other, the ratio is out of range, or the image has
            so few blocks that none would stay visible.
    """

    def __init__(
        self,
        mask_patch_size: int = 32,
        mask_ratio: float = 0.6,
        token_stride: int = 4,
        rounding: str = 'ceil_masked',
    ):
        super().__init__(mask_patch_size, token_stride)
        if not 0 < mask_ratio < 1:
            raise ValueError(
                f'mask_ratio must be above 0 (nothing to predict) and below 1 (nothing to see), '
                f'got {mask_ratio}'
            )
        if rounding not in ('ceil_masked', 'floor_visible'):
            raise ValueError(f"rounding must be 'ceil_masked' or 'floor_visible', got {rounding!r}")
        self.mask_ratio = mask_ratio
        self.rounding = rounding

    def num_masked(self, num_blocks: int) -> int:
        """How many of ``num_blocks`` blocks are masked."""
        if self.rounding == 'ceil_masked':
            return int(np.ceil(num_blocks * self.mask_ratio))
        return num_blocks - int(num_blocks * (1 - self.mask_ratio))

    def draw(self, rows: int, cols: int) -> np.ndarray:
        num_blocks = rows * cols
        num_masked = self.num_masked(num_blocks)
        if num_masked == num_blocks:
            raise ValueError(
                f'mask_ratio={self.mask_ratio} masks all {num_blocks} blocks of '
                f'{self.mask_patch_size} pixels in an image of {rows * self.mask_patch_size} x '
                f'{cols * self.mask_patch_size}: use smaller blocks or a lower ratio'
            )
        mask = np.zeros(num_blocks, dtype=bool)
        mask[np.random.permutation(num_blocks)[:num_masked]] = True
        return mask.reshape(rows, cols)
