"""MAE (facebookresearch/mae) and LSMAE (facebookresearch/long_seq_mae)."""

from collections.abc import Mapping

from torch import Tensor

from simmim_mm.interop.common import (
    UNKNOWN,
    VIT_BLOCK,
    VIT_HEADS,
    block_rules,
    count,
    data_preprocessor,
    settle,
    shape,
    side,
)
from simmim_mm.interop.families import Family
from simmim_mm.interop.rules import Rule

_RULES = (
    Rule('cls_token', 'backbone.cls_token'),
    Rule('pos_embed', 'backbone.pos_embed'),
    Rule('patch_embed.proj.{rest}', 'backbone.patch_embed.projection.{rest}'),
    *block_rules('blocks.{i}', 'backbone.layers.{i}', VIT_BLOCK),
    Rule('norm.{rest}', 'backbone.ln1.{rest}'),
)
DECODER_RULES = (
    Rule('mask_token', 'neck.mask_token'),
    Rule('decoder_pos_embed', 'neck.decoder_pos_embed'),
    Rule('decoder_embed.{rest}', 'neck.decoder_embed.{rest}'),
    *block_rules('decoder_blocks.{i}', 'neck.decoder_blocks.{i}', VIT_BLOCK),
    Rule('decoder_norm.{rest}', 'neck.ln1.{rest}'),
    Rule('decoder_pred.{rest}', 'neck.decoder_pred.{rest}'),
)
# The published decoders and the usual small ones: the weights do not tell the number of heads.
_DECODER_HEADS = {128: 4, 192: 6, 256: 8, 384: 12, 512: 16}


def mae_model(config: dict, backbone: dict, with_cls_token: bool) -> dict:
    """Model of the MAE family: decoder, loss and target around a backbone in gather mode."""
    patch = config['token_stride'] if 'token_stride' in config else config['patch_size']
    norm_pix = config.get('norm_pix_loss', False)
    return dict(
        type='MaskedImageModel',
        data_preprocessor=data_preprocessor(config['in_chans']),
        backbone=backbone,
        neck=dict(
            type='TransformerDecoder',
            in_channels=config['width'],
            img_size=config['img_size'],
            patch_size=patch,
            out_channels=config['in_chans'],
            decoder_embed_dim=config['decoder_embed_dim'],
            decoder_depth=config['decoder_depth'],
            decoder_num_heads=config['decoder_num_heads'],
            mlp_ratio=config.get('decoder_mlp_ratio', 4.0),
            with_cls_token=with_cls_token,
        ),
        head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l2')),
        target=[dict(type='NormPix', patch_size=patch)] if norm_pix else [],
    )


def _model_config(config: dict) -> dict:
    dims, ratio = config['embed_dim'], config.get('mlp_ratio', 4.0)
    in_chans = config.get('in_chans', 3)
    backbone = dict(
        type='MaskedViT',
        mask_mode='gather',
        arch=dict(
            embed_dims=dims,
            num_layers=config['depth'],
            num_heads=config['num_heads'],
            feedforward_channels=int(dims * ratio),
        ),
        img_size=config['img_size'],
        patch_size=config['patch_size'],
        in_channels=in_chans,
    )
    config = {**config, 'width': dims, 'decoder_mlp_ratio': ratio, 'in_chans': in_chans}
    return mae_model(config, backbone, with_cls_token=True)


def decoder_arguments(state: Mapping[str, Tensor]) -> dict:
    """The decoder's arguments; of a file without decoder, those of the published MAE models."""
    if 'decoder_embed.weight' not in state:
        return dict(decoder_embed_dim=512, decoder_depth=8, decoder_num_heads=16)
    width = shape(state, 'decoder_embed.weight')[0]
    return dict(
        decoder_embed_dim=width,
        decoder_depth=count(state, r'decoder_blocks\.(\d+)\.'),
        decoder_num_heads=_DECODER_HEADS.get(width, UNKNOWN),
    )


def _infer_config(state: Mapping[str, Tensor], hints: dict) -> dict:
    dims, in_chans, patch, _ = shape(state, 'patch_embed.proj.weight')
    config = dict(
        img_size=side(shape(state, 'pos_embed')[1] - 1, 'tokens') * patch,
        patch_size=patch,
        in_chans=in_chans,
        embed_dim=dims,
        depth=count(state, r'blocks\.(\d+)\.'),
        num_heads=VIT_HEADS.get(dims, UNKNOWN),
        mlp_ratio=shape(state, 'blocks.0.mlp.fc1.weight')[0] / dims,
        **decoder_arguments(state),
        norm_pix_loss=True,
    )
    return settle(config, hints)


def _detect(state: Mapping[str, Tensor]) -> bool:
    return {'cls_token', 'pos_embed', 'blocks.0.attn.qkv.weight', 'patch_embed.proj.weight'} <= set(
        state
    )


FAMILY = Family(
    name='mae',
    title='MAE and LSMAE (facebookresearch/mae, facebookresearch/long_seq_mae)',
    rules=(*_RULES, *DECODER_RULES),
    detect=_detect,
    model_config=_model_config,
    infer_config=_infer_config,
)
