"""MAE and LSMAE: the authors, transformers, mmpretrain.

Exported is the encoder, which is a plain ViT: see :mod:`simmim_mm.interop.vit`.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from simmim_mm.interop.family import (
    OPENMMLAB_RULES,
    UNKNOWN,
    Family,
    complete_arguments,
    count,
    data_preprocessor,
    having,
    shape,
)
from simmim_mm.interop.keymap import Rule, block_rules
from simmim_mm.interop.vit import (
    OPENMMLAB_PLAIN,
    PLAIN,
    VIT_BLOCK,
    encoder_rules,
    hf_block_rules,
    hf_encoder_rules,
    plain_arguments,
)

DECODER_RULES = (
    Rule('mask_token', 'neck.mask_token'),
    Rule('decoder_pos_embed', 'neck.decoder_pos_embed'),
    Rule('decoder_embed.{rest}', 'neck.decoder_embed.{rest}'),
    *block_rules('decoder_blocks.{i}', 'neck.decoder_blocks.{i}', VIT_BLOCK),
    Rule('decoder_norm.{rest}', 'neck.ln1.{rest}'),
    Rule('decoder_pred.{rest}', 'neck.decoder_pred.{rest}'),
)
_HF_DECODER = (
    *(Rule(f'decoder.{n}', f'neck.{n}') for n in ('mask_token', 'decoder_pos_embed')),
    *(
        Rule(f'decoder.{n}.{{rest}}', f'neck.{n}.{{rest}}')
        for n in ('decoder_embed', 'decoder_pred')
    ),
    Rule('decoder.decoder_norm.{rest}', 'neck.ln1.{rest}'),
    *hf_block_rules('decoder.decoder_layers.{i}', 'neck.decoder_blocks.{i}'),
    *(  # as version 5 writes it
        replace(rule, one_way=True)
        for rule in hf_block_rules('decoder.decoder_encoder.layer.{i}', 'neck.decoder_blocks.{i}')
    ),
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


def decoder_arguments(weights: Mapping[str, Tensor]) -> dict:
    """The decoder's arguments; of a file without decoder, those of the published MAE models."""
    if 'neck.decoder_embed.weight' not in weights:
        return dict(decoder_embed_dim=512, decoder_depth=8, decoder_num_heads=16)
    width = shape(weights, 'neck.decoder_embed.weight')[0]
    return dict(
        decoder_embed_dim=width,
        decoder_depth=count(weights, r'neck\.decoder_blocks\.(\d+)\.'),
        decoder_num_heads=_DECODER_HEADS.get(width, UNKNOWN),
    )


def _infer(weights: Mapping[str, Tensor], hints: dict) -> dict:
    config = dict(plain_arguments(weights), **decoder_arguments(weights), norm_pix_loss=True)
    return complete_arguments(config, hints)


_MODEL = dict(model_config=_model_config, infer=_infer)
FAMILY = Family(
    'mae',
    'MAE and LSMAE (facebookresearch/mae, facebookresearch/long_seq_mae)',
    rules=(*encoder_rules(), *DECODER_RULES),
    detect=PLAIN,
    **_MODEL,
)
HUGGINGFACE = Family(
    'hf_vit_mae',
    'MAE of transformers',
    rules=(*hf_encoder_rules(), *_HF_DECODER),
    detect=having('decoder.decoder_embed.weight'),
    prefix='vit.',
    **_MODEL,
)
OPENMMLAB = Family(
    'openmmlab_mae',
    'MAE and PixMIM of mmpretrain and mmselfsup',
    rules=OPENMMLAB_RULES,
    detect=OPENMMLAB_PLAIN,
    **_MODEL,
)
