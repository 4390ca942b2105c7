from collections.abc import Sequence

import torch
from mmengine.model import XavierInit
from mmpretrain.models.necks.mae_neck import MAEPretrainDecoder
from mmpretrain.models.utils import to_2tuple
from torch import Tensor, nn

from simmim_mm.masking import unpatchify, visible_ids
from simmim_mm.models.backbones.cpu_attention import use_attention
from simmim_mm.models.backbones.position import sincos_position_embedding
from simmim_mm.models.necks.pixel_shuffle_decoder import BaseDecoder
from simmim_mm.registry import MODELS


@MODELS.register_module()
class TransformerDecoder(BaseDecoder, MAEPretrainDecoder):
    """MAE's decoder: puts mask tokens where patches are missing and predicts pixels (section 3).

    The keys are those of mmpretrain's ``MAEPretrainDecoder``. Its position embedding is not used:
    its axes are exchanged against the authors', and it knows square grids only.

    Args:
        in_channels: Channels of the encoder's tokens.
        img_size: Image size in pixels, ``H`` or ``(H, W)``, for which the position embedding is
            stored; that of other sizes is computed when needed.
        patch_size: Pixels per token.
        out_channels: Channels to predict: the image's, unless target or loss differ.
        with_cls_token: The encoder's tokens begin with a class token.
        **kwargs: ``decoder_embed_dim``, the width (512); ``decoder_depth``, the number of blocks
            (8); ``decoder_num_heads`` (16); ``mlp_ratio``, width of the hidden layer of the MLPs in
            widths of the decoder (4); and others of ``MAEPretrainDecoder``.
    """

    mask_mode = 'gather'

    def __init__(
        self,
        in_channels: int = 768,
        img_size: int | Sequence[int] = 224,
        patch_size: int = 16,
        out_channels: int = 3,
        with_cls_token: bool = True,
        **kwargs,
    ) -> None:
        height, width = to_2tuple(img_size)
        self.grid = height // patch_size, width // patch_size
        num_patches = self.grid[0] * self.grid[1]
        super().__init__(num_patches, patch_size, out_channels, in_channels, **kwargs)
        use_attention(self)
        self.patch_size = patch_size
        self.in_channels, self.out_channels = in_channels, out_channels
        self.num_extra_tokens = int(with_cls_token)
        self.decoder_pos_embed = nn.Parameter(self._sincos(self.grid), requires_grad=False)
        self._register_load_state_dict_pre_hook(self._keep_own_position_embedding)

    def init_weights(self) -> None:
        """Xavier-uniform layers, normal mask token, as the authors."""
        super(MAEPretrainDecoder, self).init_weights()
        if isinstance(self.init_cfg, dict) and self.init_cfg.get('type') == 'Pretrained':
            return
        XavierInit(layer='Linear', distribution='uniform')(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]  # as other decoders
        self, feats: Sequence[Tensor], mask: Tensor
    ) -> Tensor:
        """Predict the pixels of all patches from the last of ``feats``, the visible tokens."""
        B, h, w = mask.shape
        extra = self.num_extra_tokens
        ids = visible_ids(mask)
        if feats[-1].shape[1] != extra + ids.shape[1]:
            raise ValueError(
                f'{feats[-1].shape[1]} tokens for {ids.shape[1]} visible patches and {extra} class '
                'tokens: the backbone must be in gather mode and agree on with_cls_token'
            )

        # every token in its place: the encoded where visible, the mask token elsewhere
        encoded = self.decoder_embed(feats[-1])
        D = encoded.shape[-1]
        x = self.mask_token.to(encoded.dtype).expand(B, h * w, D)
        x = x.scatter(1, ids.unsqueeze(-1).expand(-1, -1, D), encoded[:, extra:])
        x = torch.cat((encoded[:, :extra], x), dim=1)
        pos_embed = self.decoder_pos_embed
        x = x + (pos_embed if (h, w) == self.grid else self._sincos((h, w)).to(pos_embed))

        for block in self.decoder_blocks:
            x = block(x)
        x = self.decoder_pred(self.decoder_norm(x))[:, extra:]
        return unpatchify(x.unflatten(1, (h, w)), self.patch_size)

    def _sincos(self, grid: tuple[int, int]) -> Tensor:
        dims = self.decoder_pred.in_features
        return sincos_position_embedding(grid, dims, self.num_extra_tokens)

    def _keep_own_position_embedding(self, state_dict, prefix, *args) -> None:
        """A fixed embedding of another grid is not loaded: the model has computed its own."""
        key = prefix + 'decoder_pos_embed'
        if key in state_dict and state_dict[key].shape != self.decoder_pos_embed.shape:
            state_dict[key] = self.decoder_pos_embed.detach().clone()
