from abc import ABCMeta, abstractmethod
from math import gcd

import numpy as np
from mmcv.transforms import BaseTransform

from simmim_mm._renamed import renamed_arguments
from simmim_mm.datasets.transforms.nodata import nodata_of, spare_nodata
from simmim_mm.registry import TRANSFORMS


@renamed_arguments(token_stride=None)
class MaskTransform(BaseTransform, metaclass=ABCMeta):
    """Base of the mask generators: chooses which square blocks of an image are masked.

    The mask is on the grid of the blocks; the model brings it to the tokens of its backbone.

    A subclass implements :meth:`draw`. Random numbers must come from ``numpy.random``'s global
    functions, which ``ImageDataset`` seeds for each sample. All images of a size get the same
    number of masked blocks; of ``n`` blocks:

    - ``rounding='ceil_masked'``: ``ceil(n * mask_ratio)`` masked blocks, as in SimMIM;
    - ``rounding='floor_visible'``: ``int(n * (1 - mask_ratio))`` visible blocks, as in MAE and its
      relatives.

    On paper the two agree. In floating point they may differ by one (``ceil(100 * 0.55)`` is 56),
    which is why both are kept as their authors compute them.

    Required keys: ``img``, whose first two axes are height and width, which may differ.
    Added keys: ``mask``, bool ``(H / mask_patch_size, W / mask_patch_size)``, True where masked;
    and ``nodata``, bool ``(H, W)``, if ``LoadImage(nodata=...)`` was set. Blocks that hold nothing
    else are masked in the same fraction as the others.

    Args:
        mask_patch_size: Side of a block in pixels. Has to divide the image's height and width, and
            to be a multiple of the backbone's token (4 pixels for Swin, 16 for ViT).
        mask_ratio: Fraction of the blocks to mask, above 0 and below 1.
        rounding: See above.

    Raises:
        ValueError: If the block does not divide the image, the ratio is out of range, or the image
            has so few blocks that none would stay visible.
    """

    spares_nodata = True

    def __init__(
        self, mask_patch_size: int = 32, mask_ratio: float = 0.6, rounding: str = 'ceil_masked'
    ) -> None:
        if not isinstance(mask_patch_size, int) or mask_patch_size < 1:
            raise ValueError(
                f'mask_patch_size must be a positive number of pixels, got {mask_patch_size!r}'
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
        self.rounding = rounding

    @abstractmethod
    def draw(self, rows: int, cols: int, num_masked: int, results: dict) -> np.ndarray:
        """Choose the masked blocks: bool ``(rows, cols)``, True where masked.

        Args:
            rows: Blocks from top to bottom.
            cols: Blocks from left to right.
            num_masked: How many of them to mask, fewer than all.
            results: Of the pipeline so far, for masks that look at the image.
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
            common = gcd(height, width)
            fitting = ', '.join(str(n) for n in range(2, common + 1) if common % n == 0)
            raise ValueError(
                f'mask_patch_size={size} does not divide the image of {height} x {width} pixels '
                f'(height x width): {f"choose one that does ({fitting}), or " if fitting else ""}'
                'change the crop size'
            )
        rows, cols = height // size, width // size
        num_masked = self.num_masked(rows * cols)
        if num_masked >= rows * cols:
            raise ValueError(
                f'mask_ratio={self.mask_ratio} masks all {rows * cols} blocks of {size} pixels in '
                f'an image of {height} x {width}: use smaller blocks or a lower ratio'
            )
        mask = self.draw(rows, cols, num_masked, results)
        nodata = nodata_of(results)
        if nodata is not None:
            results['nodata'] = nodata
            if self.spares_nodata:
                blocks = nodata.reshape(rows, size, cols, size)
                mask = spare_nodata(mask, np.all(blocks, axis=(1, 3)))
        results['mask'] = mask
        return results

    def __repr__(self) -> str:
        args = ', '.join(f'{k}={v!r}' for k, v in vars(self).items() if not k.startswith('_'))
        return f'{type(self).__name__}({args})'


@TRANSFORMS.register_module()
class RandomBlockMask(MaskTransform):
    """SimMIM's mask: blocks chosen at random, without replacement (paper, section 3.2).

    With a ``mask_patch_size`` of one token every token is chosen by itself, as in MAE.
    """

    def draw(self, rows: int, cols: int, num_masked: int, results: dict) -> np.ndarray:
        mask = np.zeros(rows * cols, dtype=bool)
        mask[np.random.permutation(rows * cols)[:num_masked]] = True
        return mask.reshape(rows, cols)


@TRANSFORMS.register_module()
@renamed_arguments(token_stride=None)
class UniformMask(MaskTransform):
    """Keeps one block of each 2 x 2, chosen at random: UM-MAE's uniform sampling (2205.10063).

    A quarter of the image is visible, spread evenly. Height and width have to be multiples of two
    blocks, of ``mask_patch_size`` pixels.
    """

    spares_nodata = False  # one of each 2 x 2 stays visible, whatever it holds

    def __init__(self, mask_patch_size: int = 16) -> None:
        super().__init__(mask_patch_size, mask_ratio=0.75)

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
