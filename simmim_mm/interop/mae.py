"""MAE and LSMAE: the authors, transformers, mmpretrain. Exported is the encoder, a plain ViT."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor

from simmim_mm.interop import family, vit
from simmim_mm.interop.family import Family, count, having, shape
from simmim_mm.interop.keymap import Rule, block_rules

_EMBED_AND_PRED = ('decoder_embed', 'decoder_pred')
DECODER_RULES = (
    Rule('mask_token', 'neck.mask_token'),
    Rule('decoder_pos_embed', 'neck.decoder_pos_embed'),
    *(Rule(f'{n}.{{rest}}', f'neck.{n}.{{rest}}') for n in _EMBED_AND_PRED),
    *block_rules('decoder_blocks.{i}', 'neck.decoder_blocks.{i}', vit.VIT_BLOCK),
    Rule('decoder_norm.{rest}', 'neck.ln1.{rest}'),
)
_HF_VERSION_5 = vit.hf_block_rules('decoder.decoder_encoder.layer.{i}', 'neck.decoder_blocks.{i}')
_HF_DECODER = (
    *(Rule(f'decoder.{n}', f'neck.{n}') for n in ('mask_token', 'decoder_pos_embed')),
    *(Rule(f'decoder.{n}.{{rest}}', f'neck.{n}.{{rest}}') for n in _EMBED_AND_PRED),
    Rule('decoder.decoder_norm.{rest}', 'neck.ln1.{rest}'),
    *vit.hf_block_rules('decoder.decoder_layers.{i}', 'neck.decoder_blocks.{i}'),
    *(replace(rule, one_way=True) for rule in _HF_VERSION_5),
)
# The published decoders and the usual small ones: the weights do not tell the number of heads.
_DECODER_HEADS = {128: 4, 192: 6, 256: 8, 384: 12, 512: 16}


def mae_model(
    config: dict, backbone: dict, width: int, patch: int, mlp_ratio: float, with_cls_token: bool
) -> dict:
    """Model of the MAE family around a backbone in gather mode, with ``width`` channels.

    The authors' ``config`` tells of the decoder and the target, ``patch`` is in pixels.
    """
    return dict(
        type='MaskedImageModel',
        data_preprocessor=family.data_preprocessor(backbone['in_channels']),
        backbone=backbone,
        neck=dict(
            type='TransformerDecoder',
            in_channels=width,
            img_size=backbone['img_size'],
            patch_size=patch,
            out_channels=backbone['in_channels'],
            **{k: config[k] for k in ('decoder_embed_dim', 'decoder_depth', 'decoder_num_heads')},
            mlp_ratio=mlp_ratio,
            with_cls_token=with_cls_token,
        ),
        head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l2')),
        target=[dict(type='NormPix', patch_size=patch)] if config.get('norm_pix_loss') else [],
    )


def _model_config(config: dict) -> dict:
    backbone = vit.vit_backbone('MaskedViT', config, mask_mode='gather')
    patch, ratio = config['patch_size'], config.get('mlp_ratio', 4.0)
    return mae_model(config, backbone, config['embed_dim'], patch, ratio, with_cls_token=True)


def decoder_arguments(weights: Mapping[str, Tensor]) -> dict:
    """The decoder's arguments; of a file without decoder, those of the published MAE models."""
    if 'neck.decoder_embed.weight' not in weights:
        return dict(decoder_embed_dim=512, decoder_depth=8, decoder_num_heads=16)
    width = shape(weights, 'neck.decoder_embed.weight')[0]
    return dict(
        decoder_embed_dim=width,
        decoder_depth=count(weights, r'neck\.decoder_blocks\.(\d+)\.'),
        decoder_num_heads=_DECODER_HEADS.get(width, family.UNKNOWN),
    )


def _infer(weights: Mapping[str, Tensor], hints: dict) -> dict:
    return {**vit.plain_arguments(weights), **decoder_arguments(weights), 'norm_pix_loss': True}


_family = partial(Family, model_config=_model_config, infer=_infer)
FAMILY = _family(
    'mae',
    'MAE and LSMAE (facebookresearch/mae, facebookresearch/long_seq_mae)',
    rules=(*vit.encoder_rules(), *DECODER_RULES),
    detect=vit.PLAIN,
)
HUGGINGFACE = _family(
    'hf_vit_mae',
    'MAE of transformers',
    rules=(*vit.hf_encoder_rules(), *_HF_DECODER),
    detect=having('decoder.decoder_embed.weight'),
    prefix='vit.',
)
OPENMMLAB = _family(
    'openmmlab_mae',
    'MAE and PixMIM of mmpretrain and mmselfsup',
    rules=family.OPENMMLAB_RULES,
    detect=vit.OPENMMLAB_PLAIN,
)
