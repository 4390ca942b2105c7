from collections.abc import Sequence

from mmpretrain.models.backbones import SwinTransformerV2
from torch import nn

from simmim_mm.models.backbones.masked_swin import BaseMaskedSwin
from simmim_mm.models.backbones.units import Part
from simmim_mm.models.backbones.window_attention import CosineWindowAttention
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedSwinV2(BaseMaskedSwin, SwinTransformerV2):
    """Swin Transformer v2 with a mask token in the place of masked patches.

    Weights and features are those of mmpretrain's ``SwinTransformerV2``; the attention is faster.

    Args:
        arch: As ``img_size`` and ``patch_size``, see :class:`MaskedSwin`.
        window_size: Of all stages, or one for each; see :class:`MaskedSwin`.
        **kwargs: ``drop_path_rate`` (0 by default; the authors pretrain Swin v2 at 0.1),
            ``pad_small_map``, ``mask_mode``, ``num_heads`` and ``mlp_widths`` of
            :class:`MaskedSwin`, and other arguments of ``SwinTransformerV2``.
            ``pretrained_window_sizes`` are those of the pretraining as clamped (12, 12, 12, 6 at
            192 pixels). Our own files carry them, those of timm and transformers do not: give them
            there when the window changes.
    """

    attention = CosineWindowAttention
    head_parts = (
        *(Part('q_bias'), Part('v_bias'), Part('logit_scale')),
        Part('cpb_mlp.2.weight'),
    )
    out_after_downsample = True  # a stage begins with its downsampling

    def __init__(
        self,
        arch: str | dict = 'tiny',
        img_size: int | Sequence[int] = 256,
        patch_size: int = 4,
        window_size: int | Sequence[int] = 8,
        **kwargs,
    ) -> None:
        super().__init__(arch, img_size, patch_size, window_size, **kwargs)

    def reset_weights(self) -> None:
        """The norms that end the residual branches start at zero: every block is the identity."""
        super().reset_weights()
        for stage in self.stages:
            for block in stage.blocks:
                nn.init.zeros_(block.norm1.weight)
                nn.init.zeros_(block.norm2.weight)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Layer of a parameter and number of layers, for layer-wise learning rates.

        As in the authors' optimizer.py: the patch embedding is layer 0, the blocks are 1 to
        ``sum(depths)``; a downsampling belongs to the block before it, which in mmpretrain's class
        is in the stage before.
        """
        layer = last = sum(self.depths) + 1
        name = param_name[len(prefix) :].split('.')
        if param_name.startswith(prefix) and name[0] in ('patch_embed', 'absolute_pos_embed'):
            layer = 0
        elif param_name.startswith(prefix) and name[0] == 'stages':
            block = int(name[3]) + 1 if name[2] == 'blocks' else 0
            layer = sum(self.depths[: int(name[1])]) + block
        return layer, last + 1

    def _delete_reinit_params(self, *args, **kwargs) -> None:
        """Nothing: mmpretrain's leaves these keys missing, which a strict load refuses."""
