from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from simmim_mm.registry import MODELS


@MODELS.register_module()
class TimmFeatures(BaseModule):
    """A backbone of timm that gives maps; the weights have timm's names below ``model.``.

    Args:
        model_name: As for ``timm.create_model``.
        pretrained: Load timm's public weights, from its cache or the network.
        out_indices: Blocks or stages to return, in rising order and numbered as in timm's
            ``forward_intermediates``; -1: the last.
        in_channels: Channels of the images.
        img_size: ``H`` or ``(H, W)`` in pixels, for models that are built for a size (ViT, Swin).
        **kwargs: Others of ``timm.create_model``.

    Raises:
        ValueError: If timm is missing or has no such model, or the model gives no intermediates.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool = False,
        out_indices: tuple[int, ...] = (-1,),
        in_channels: int = 3,
        img_size: int | Sequence[int] | None = None,
        init_cfg: dict | list | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(init_cfg)
        try:
            import timm
        except ImportError:
            raise ValueError('TimmFeatures needs timm: pip install timm') from None
        kwargs.update(pretrained=pretrained, num_classes=0, in_chans=in_channels)
        try:
            known = timm.is_model(model_name) and timm.models.get_pretrained_cfg(model_name)
            if img_size is not None and known and known.fixed_input_size:  # no CNN
                kwargs['img_size'] = img_size
            self.model = timm.create_model(model_name, **kwargs)
        except RuntimeError as error:  # unknown model
            raise ValueError(f'timm: {error}') from error
        if not hasattr(self.model, 'forward_intermediates'):
            raise ValueError(f'{model_name} of timm gives no maps (forward_intermediates)')
        self.pretrained, self.out_indices = pretrained, tuple(out_indices)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps ``(B, C_i, h_i, w_i)``; the last block's is normalized."""
        model: Any = self.model
        indices = [i % len(model.feature_info) for i in self.out_indices]
        maps = model.forward_intermediates(
            x, indices=indices, norm=True, intermediates_only=True, output_fmt='NCHW'
        )
        return tuple(maps)
