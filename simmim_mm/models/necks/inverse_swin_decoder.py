from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.backbones.swin_transformer import SwinBlockSequence, SwinTransformer
from torch import Tensor, nn

from simmim_mm.models.backbones.masked_swin import (
    clamped_windows,
    init_swin_weights,
    swap_attention,
)
from simmim_mm.models.backbones.window_attention import ShiftedWindowAttention
from simmim_mm.models.necks.pixel_shuffle_decoder import BaseDecoder
from simmim_mm.registry import MODELS


class PatchSplitting(BaseModule):
    """Twice the height and width, half the channels: patch merging in reverse.

    Layer norm, a linear layer to twice the channels, and every position's channels laid out as 2x2
    positions. As many weights as merging has.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dims)
        self.expansion = nn.Linear(dims, 2 * dims, bias=False)

    def forward(self, x: Tensor, size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """``(B, h * w, C)`` to ``(B, 2h * 2w, C / 2)``, and the new size."""
        x = self.expansion(self.norm(x)).transpose(1, 2).unflatten(2, size)
        x = F.pixel_shuffle(x, 2)
        return x.flatten(2).transpose(1, 2), (2 * size[0], 2 * size[1])


@MODELS.register_module()
class InverseSwinDecoder(BaseDecoder):
    """A Swin transformer in reverse, from the last feature map to pixels.

    SimMIM's table 2 compares such heads with the linear one (they are no better: 82.4 and 82.5
    against 82.8), but does not publish their structure. Here Swin is mirrored piece by piece: a
    linear layer to the width of Swin's last stage, its stages of blocks last to first, patch
    splitting in the place of merging, layer norm, and a linear layer to the pixels of a patch. With
    a Swin-B encoder it has 116 and 175 million parameters for ``'tiny'`` and ``'base'``, the paper
    115 and 175.

    Args:
        in_channels: Channels of the last feature map.
        arch: ``'tiny'``, ``'small'``, ``'base'``, ``'large'`` as in mmpretrain's
            ``SwinTransformer``, or a dict with ``embed_dims``, ``depths`` and ``num_heads``, in
            Swin's order.
        img_size: ``H`` or ``(H, W)`` of what is predicted; decides where windows are clamped to the
            map, as in ``MaskedSwin``.
        patch_size: Side of what each position of the finest map predicts. With n stages it is
            ``stride / 2 ** (n - 1)``, which is the default where ``stride`` is given, else 4.
        window_size: Of all stages.
        stride: Pixels per position of the last feature map.

    Raises:
        ValueError: If ``arch`` is not known, or its stages do not lead from ``stride`` to pixels.
    """

    def __init__(
        self,
        in_channels: int,
        arch: str | dict = 'tiny',
        img_size: int | Sequence[int] = 192,
        patch_size: int | None = None,
        window_size: int = 6,
        out_channels: int = 3,
        stride: int | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        zoo = SwinTransformer.arch_zoo
        if isinstance(arch, str) and arch not in zoo:
            raise ValueError(f'arch must be one of {sorted(zoo)} or a dict, got {arch!r}')
        arch = zoo[arch] if isinstance(arch, str) else arch
        depths, heads = arch['depths'], arch['num_heads']
        growth = 2 ** (len(depths) - 1)
        patch, rest = divmod(stride or 4 * growth, growth)
        if patch_size is not None:
            patch = patch_size
        elif rest:
            raise ValueError(
                f'an InverseSwinDecoder of {len(depths)} stages enlarges a map by {growth}, but '
                f'{stride} pixels are to be predicted for each position: give it an arch of fewer '
                'stages'
            )
        dims = [arch['embed_dims'] * 2**i for i in range(len(depths))]
        windows = clamped_windows([window_size] * len(depths), img_size, patch)

        self.in_channels, self.out_channels = in_channels, out_channels
        self.embed = nn.Linear(in_channels, dims[-1])
        self.stages = nn.ModuleList(
            SwinBlockSequence(d, depth, n, window)
            for d, depth, n, window in reversed(list(zip(dims, depths, heads, windows)))
        )
        self.splits = nn.ModuleList(PatchSplitting(d) for d in reversed(dims[1:]))
        self.norm = nn.LayerNorm(dims[0])
        self.pixels = nn.Sequential(
            nn.Conv2d(dims[0], patch**2 * out_channels, 1), nn.PixelShuffle(patch)
        )
        swap_attention(self.stages, ShiftedWindowAttention)

    def init_weights(self) -> None:
        super().init_weights()
        init_swin_weights(self)

    def forward(self, feats: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Decode the last of ``feats``; the mask is not needed, mask tokens stand in them."""
        size = tuple(feats[-1].shape[-2:])
        x = self.embed(feats[-1].flatten(2).transpose(1, 2))
        for i, stage in enumerate(self.stages):
            x, size = stage(x, size)
            if i < len(self.splits):
                x, size = self.splits[i](x, size)
        x = self.norm(x).transpose(1, 2).unflatten(2, size)
        return self.pixels(x)
