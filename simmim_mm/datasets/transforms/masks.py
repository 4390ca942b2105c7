from abc import ABCMeta, abstractmethod
from math import gcd

import numpy as np
from mmcv.transforms import BaseTransform

from simmim_mm.registry import TRANSFORMS


class MaskTransform(BaseTransform, metaclass=ABCMeta):
    """Base of the mask generators: draws blocks, writes the mask on the backbone's token grid.

    A subclass implements :meth:`draw`. Random numbers must come from ``numpy.random``'s global
    functions, which ``ImageDataset`` seeds for each sample. All images of a size get the same
    number of masked blocks; of ``n`` blocks:

    - ``rounding='ceil_masked'``: ``ceil(n * mask_ratio)`` masked blocks, as in SimMIM;
    - ``rounding='floor_visible'``: ``int(n * (1 - mask_ratio))`` visible blocks, as in MAE and its
      relatives.

    On paper the two agree. In floating point they may differ by one (``ceil(100 * 0.55)`` is 56,
    because the product is 55.00000000000001), which is why both are kept as their authors compute
    them.

    Required keys: ``img``, whose first two axes are height and width, which may differ.
    Added keys: ``mask``, bool ``(H / token_stride, W / token_stride)``, True where masked.

    Args:
        mask_patch_size: Side of a block in pixels. Has to divide the image's height and width.
        mask_ratio: Share of the blocks to mask, above 0 and below 1.
        token_stride: Side of a token in pixels (4 for Swin, 16 for ViT). Has to divide
            ``mask_patch_size``; the same size for blocks of one token.
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
        for name, value in dict(mask_patch_size=mask_patch_size, token_stride=token_stride).items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'{name} must be a positive number of pixels, got {value!r}')
        if mask_patch_size % token_stride:
            raise ValueError(
                f'mask_patch_size={mask_patch_size} is not a multiple of '
                f'token_stride={token_stride}; a block has to cover whole tokens: choose '
                f'{max(1, mask_patch_size // token_stride) * token_stride}, for example'
            )
        if not 0 < mask_ratio < 1:
            raise ValueError(
                f'mask_ratio must be above 0 (nothing to predict) and below 1 (nothing to see), '
                f'got {mask_ratio}'
            )
        if rounding not in ('ceil_masked', 'floor_visible'):
            raise ValueError(f"rounding must be 'ceil_masked' or 'floor_visible', got {rounding!r}")
        self.mask_patch_size = mask_patch_size
        self.mask_ratio = mask_ratio
        self.token_stride = token_stride
        self.rounding = rounding

    @abstractmethod
    def draw(self, rows: int, cols: int, num_masked: int, results: dict) -> np.ndarray:
        """Choose the masked blocks.

        Args:
            rows: Blocks from top to bottom.
            cols: Blocks from left to right.
            num_masked: How many of them to mask, fewer than all.
            results: Of the pipeline so far, for masks that look at the image.

        Returns:
            Bool ``(rows, cols)``, True where masked.
        """

    def num_masked(self, num_blocks: int) -> int:
        """How many of ``num_blocks`` blocks are masked."""
        if self.rounding == 'ceil_masked':
            return int(np.ceil(num_blocks * self.mask_ratio))
        return num_blocks - int(num_blocks * (1 - self.mask_ratio))

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        size = self.mask_patch_size
        if height % size or width % size:
            raise ValueError(self._does_not_divide(height, width))
        rows, cols = height // size, width // size
        num_masked = self.num_masked(rows * cols)
        if num_masked >= rows * cols:
            raise ValueError(
                f'mask_ratio={self.mask_ratio} masks all {rows * cols} blocks of {size} pixels in '
                f'an image of {height} x {width}: use smaller blocks or a lower ratio'
            )
        blocks = self.draw(rows, cols, num_masked, results)
        tokens = size // self.token_stride
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

    With ``mask_patch_size`` equal to ``token_stride`` every token is chosen by itself, as in MAE.

    Args:
        *args: As of :class:`MaskTransform`.
        **kwargs: Likewise.
    """

    def draw(self, rows: int, cols: int, num_masked: int, results: dict) -> np.ndarray:
        mask = np.zeros(rows * cols, dtype=bool)
        mask[np.random.permutation(rows * cols)[:num_masked]] = True
        return mask.reshape(rows, cols)


@TRANSFORMS.register_module()
class UniformMask(MaskTransform):
    """Keeps one block of each 2 x 2, chosen at random: UM-MAE's uniform sampling (2205.10063).

    A quarter of the image is visible, spread evenly. Height and width have to be multiples of two
    blocks.

    Args:
        mask_patch_size: Side of a block in pixels.
        token_stride: Side of a token in pixels.
    """

    def __init__(self, mask_patch_size: int = 16, token_stride: int = 4):
        super().__init__(mask_patch_size, mask_ratio=0.75, token_stride=token_stride)

    def draw(self, rows: int, cols: int, num_masked: int, results: dict) -> np.ndarray:
        if rows % 2 or cols % 2:
            raise ValueError(
                f'UniformMask keeps one of 2 x 2 blocks of {self.mask_patch_size} pixels, but the '
                f'image has {rows} x {cols} of them: crop to multiples of '
                f'{2 * self.mask_patch_size} pixels or halve mask_patch_size'
            )
        kept = np.random.randint(4, size=(rows // 2, cols // 2))
        # the 2 x 2 positions come last and are moved between the axes they belong to
        mask = kept[..., None] != np.arange(4)
        return mask.reshape(rows // 2, cols // 2, 2, 2).swapaxes(1, 2).reshape(rows, cols)
