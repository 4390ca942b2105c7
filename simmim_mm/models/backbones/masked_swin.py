from collections.abc import Sequence
from copy import deepcopy

import torch
from mmpretrain.models.backbones import SwinTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from simmim_mm.models.backbones.mask_token import check_mask, replace_masked
from simmim_mm.models.backbones.pretrained import PretrainedBackbone
from simmim_mm.models.backbones.swin_parts import accelerate, clamped_windows, init_swin_weights
from simmim_mm.models.backbones.window_attention import ShiftedWindowAttention
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedSwin(PretrainedBackbone, SwinTransformer):
    """Swin Transformer with a mask token in the place of masked patches (SimMIM, section 3.2).

    Weights and features are those of mmpretrain's ``SwinTransformer``; the attention is faster.

    Args:
        arch: As in mmpretrain.
        img_size: ``H`` or ``(H, W)`` in pixels. Images of other sizes can be passed later.
        window_size: Of all stages. Unless ``pad_small_map``, a stage whose map (at ``img_size``) is
            smaller has a window of its shorter side, without shift, as in the authors' code: 192
            pixels and window 12 make the last stage's window 6.
        drop_path_rate: Highest rate of stochastic depth. mmpretrain's default is 0.1, at which its
            SimMIM departs from the authors' 0.
        pad_small_map: For detection and segmentation: ``window_size`` everywhere, whatever the
            image; small maps are padded to it, and shifted.
        stage_cfgs: As in mmpretrain; a ``window_size`` given here is taken as it is.
        **kwargs: Other arguments of ``SwinTransformer``.
    """

    def __init__(
        self,
        arch: str | dict = 'tiny',
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 4,
        window_size: int = 7,
        drop_path_rate: float = 0.0,
        pad_small_map: bool = False,
        stage_cfgs: dict | Sequence[dict] = dict(),
        **kwargs,
    ) -> None:
        depths = (arch if isinstance(arch, dict) else self.arch_zoo[arch.lower()])['depths']
        stages = len(depths)
        if not pad_small_map:
            windows = clamped_windows([window_size] * stages, img_size, patch_size)
            if isinstance(stage_cfgs, dict):
                stage_cfgs = [deepcopy(stage_cfgs) for _ in range(stages)]
            stage_cfgs = [{'window_size': w, **cfg} for w, cfg in zip(windows, stage_cfgs)]
        super().__init__(
            arch=arch,
            img_size=img_size,
            patch_size=patch_size,
            window_size=window_size,
            drop_path_rate=drop_path_rate,
            pad_small_map=pad_small_map,
            stage_cfgs=stage_cfgs,
            **kwargs,
        )
        self.token_stride = self.patch_embed.projection.stride[0]
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))
        accelerate(self.stages, ShiftedWindowAttention)

    def reset_weights(self) -> None:
        """The authors' initialization."""
        init_swin_weights(self)

    def train(self, mode: bool = True) -> 'MaskedSwin':
        """As ``nn.Module.train``; mmpretrain's forgets to return the module."""
        super().train(mode)
        return self

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode.

        Args:
            x: ``(B, C, H, W)``, of any size.
            mask: ``(B, H / 4, W / 4)`` boolean, True = masked; None masks nothing.

        Returns:
            Normalized maps of the stages ``out_indices``, ``(B, C_i, H / 2^(i+2), W / 2^(i+2))``.

        Raises:
            ValueError: If the mask is not on the token grid of the images.
        """
        x, hw_shape = self.patch_embed(x)
        if mask is not None:
            check_mask(mask, len(x), hw_shape, self.token_stride)
            x = replace_masked(x, mask, self.mask_token)
        if self.use_abs_pos_embed:
            x = x + resize_pos_embed(
                self.absolute_pos_embed, self.patch_resolution, hw_shape, self.interpolate_mode, 0
            )
        x = self.drop_after_pos(x)

        outs = []
        for i, stage in enumerate(self.stages):
            x, hw_shape = stage(x, hw_shape, do_downsample=self.out_after_downsample)
            if i in self.out_indices:
                out = getattr(self, f'norm{i}')(x)
                outs.append(out.unflatten(1, hw_shape).permute(0, 3, 1, 2).contiguous())
            if stage.downsample is not None and not self.out_after_downsample:
                x, hw_shape = stage.downsample(x, hw_shape)
        return tuple(outs)
