from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn

from simmim_mm._renamed import renamed_attributes
from simmim_mm.registry import MODELS


@MODELS.register_module()
@renamed_attributes(normalise='normalize', denormalise='denormalize')  # codespell:ignore
class MIMDataPreprocessor(BaseDataPreprocessor):
    """Stack and normalize a batch of images with any number of channels.

    The only place where the pixel statistics are written: target generators, reconstructions and
    metrics take them from here.

    Args:
        mean: Mean of each channel, in the value range of the loaded images (0..255 for 8-bit files)
            and in their channel order (RGB from our loader).
        std: Standard deviation of each channel, in the same range; all positive.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], non_blocking: bool = True):
        super().__init__(non_blocking=non_blocking)
        if len(mean) != len(std):
            raise ValueError(f'mean has {len(mean)} values but std has {len(std)}: one per channel')
        if min(std) <= 0:
            raise ValueError(f'std must be positive, got {list(std)}')
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Move to the device, stack and normalize.

        ``inputs``, a list of ``(C, H, W)`` tensors or a ``(B, C, H, W)`` tensor of any dtype,
        becomes a float32 ``(B, C, H, W)``; the rest is kept as it is.

        Raises:
            ValueError: If the images differ in shape or their channels do not match ``mean``.
        """
        cast: Any = self.cast_data(data)
        inputs = cast['inputs']
        if not isinstance(inputs, Tensor):
            shapes = {tuple(x.shape) for x in inputs}
            if len(shapes) > 1:
                raise ValueError(
                    f'images of one batch differ in shape (channels, height, width): '
                    f'{sorted(shapes)}; add a crop or resize to the pipeline'
                )
            inputs = torch.stack(tuple(inputs))
        return {**cast, 'inputs': self.normalize(inputs)}

    def normalize(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` in the loaded range to float32 with the given statistics removed."""
        if x.shape[1] != len(self.mean):
            raise ValueError(
                f'images have {x.shape[1]} channels, but data_preprocessor has mean and std for '
                f'{len(self.mean)}: set the channels of the loader, mean and std accordingly'
            )
        return (x.float() - self.mean) / self.std

    def denormalize(self, x: Tensor) -> Tensor:
        """Inverse of :meth:`normalize`, back to the value range of the loaded images."""
        return x * self.std + self.mean


class PixelStats(nn.Module):
    """Base of what needs to know the mean and standard deviation that the images are normalized by.

    ``mean`` and ``std`` are ``(C, 1, 1)``, in the value range of the loaded images; until they are
    set, 0 and 1. They are not part of a checkpoint: the data preprocessor's config has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer('mean', torch.zeros(1, 1, 1), persistent=False)
        self.register_buffer('std', torch.ones(1, 1, 1), persistent=False)

    def set_pixel_stats(self, mean: Tensor, std: Tensor) -> None:
        """Take over the statistics ``(C, 1, 1)`` by which the data preprocessor normalizes."""
        self.mean, self.std = mean.detach().clone(), std.detach().clone()
