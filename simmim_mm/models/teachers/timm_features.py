from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from simmim_mm.registry import MODELS


@MODELS.register_module()
class TimmFeatures(BaseModule):
    """A backbone of timm that gives maps; the weights have timm's names below ``model.``.

    Args:
        model_name: As for ``timm.create_model``.
        pretrained: Load timm's public weights, from its cache or the network.
        out_indices: Blocks or stages to return, numbered as in timm's ``forward_intermediates``;
            -1: the last.
        in_channels: Channels of the images.
        **kwargs: Others of ``timm.create_model``, such as ``img_size``.

    Raises:
        ValueError: If timm is missing or has no such model, or the model gives no intermediates.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool = False,
        out_indices: tuple[int, ...] = (-1,),
        in_channels: int = 3,
        init_cfg: dict | list | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(init_cfg)
        try:
            import timm
        except ImportError:
            raise ValueError('TimmFeatures needs timm: pip install timm') from None
        try:
            self.model = timm.create_model(
                model_name, pretrained=pretrained, num_classes=0, in_chans=in_channels, **kwargs
            )
        except RuntimeError as error:  # unknown model
            raise ValueError(f'timm: {error}') from error
        if not hasattr(self.model, 'forward_intermediates'):
            raise ValueError(f'{model_name} of timm gives no maps (forward_intermediates)')
        self.pretrained, self.out_indices = pretrained, tuple(out_indices)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps ``(B, C_i, h_i, w_i)``; the last block's is normalized."""
        model: Any = self.model
        with torch.no_grad():
            count = len(self.out_indices)
            indices = sorted({i % self._depth for i in self.out_indices})
            if len(indices) < count:
                raise ValueError(f'out_indices={self.out_indices} name a block twice')
            maps = model.forward_intermediates(
                x, indices=indices, norm=True, intermediates_only=True, output_fmt='NCHW'
            )
        return tuple(maps)

    @property
    def _depth(self) -> int:
        return len(self.model.feature_info)
