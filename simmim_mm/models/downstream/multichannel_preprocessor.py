from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from simmim_mm.registry import MODELS


@MODELS.register_module()
class MultichannelPreprocessor(BaseDataPreprocessor):
    """The data preprocessor of a detector or segmenter, for images of any number of channels.

    mmengine's ``ImgDataPreprocessor``, on which those of mmdet and mmseg are built, takes the mean
    and standard deviation of one channel or of three. Here each channel has its own; padding and
    labels are left to the preprocessor named by ``base``, which pads with zeros, the mean.

    Args:
        mean: Mean of each channel, in the value range and order of the loaded images.
        std: Standard deviation of each channel; all positive.
        base: Type of the preprocessor, such as ``'DetDataPreprocessor'`` or
            ``'SegDataPreProcessor'``.
        bgr_to_rgb: Has no effect: channels stay in the order of the loaded images. Only there so
            that a config can inherit from one of RGB images.
        **kwargs: For ``base``, without ``mean`` and ``std``.

    Raises:
        ValueError: If ``mean`` and ``std`` do not match each other or, later, the images.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        base: str,
        bgr_to_rgb: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if len(mean) != len(std) or min(std) <= 0:
            raise ValueError(
                f'mean has {len(mean)} values and std {list(std)}: one for each channel, and those '
                'of std are positive'
            )
        self.base = MODELS.build(dict(type=base, **kwargs))
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), False)
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), False)

    def forward(self, data: dict, training: bool = False) -> Any:
        """Normalize ``inputs``, ``(C, H, W)`` each or ``(B, C, H, W)``; the rest is of ``base``."""
        cast: Any = self.cast_data(data)
        inputs = cast['inputs']
        whole = isinstance(inputs, Tensor)
        inputs = self._normalize(inputs) if whole else [self._normalize(x) for x in inputs]
        return self.base({**cast, 'inputs': inputs}, training)

    def _normalize(self, x: Tensor) -> Tensor:
        if x.shape[-3] != len(self.mean):
            raise ValueError(
                f'images have {x.shape[-3]} channels, but data_preprocessor has mean and std for '
                f'{len(self.mean)}: set the channels of the loader, mean and std accordingly'
            )
        return (x.float() - self.mean) / self.std
