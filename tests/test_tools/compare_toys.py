"""Tiny checkpoints."""

from pathlib import Path

import torch
from mmengine.config import Config

from simmim_mm.registry import MODELS

TOOLS = Path(__file__).parents[2] / 'tools'
SWIN = dict(
    type='MaskedSwin',
    arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2]),
    img_size=64,
    window_size=4,
)
VIT_ARCH = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
BACKBONES = dict(
    swin=SWIN,
    swinv2=dict(SWIN, type='MaskedSwinV2', arch=dict(SWIN['arch'], extra_norm_every_n_blocks=0)),
    vit=dict(type='MaskedViT', arch=VIT_ARCH, img_size=64, patch_size=16, mask_mode='gather'),
    convvit=dict(
        type='MaskedConvViT',
        arch=dict(embed_dims=(8, 8, 16), depths=(1, 1, 2), num_heads=2, mlp_ratios=(1, 1, 1)),
        img_size=64,
    ),
    resnet=dict(type='MaskedResNet', depth=18, base_channels=4, stem_channels=4),
    beit=dict(type='MaskedBEiT', arch=VIT_ARCH, img_size=32, patch_size=8),
)
MEAN, STD = [120.0, 110.0, 100.0], [60.0, 61.0, 62.0]


def write_checkpoint(
    path: Path, backbone: dict, mean=tuple(MEAN), std=tuple(STD), **load: object
) -> Path:
    """As a pretraining would, with random weights; ``load`` are settings of ``LoadImage``."""
    torch.manual_seed(0)
    module = MODELS.build(backbone)
    preprocessor = dict(type='MIMDataPreprocessor', mean=list(mean), std=list(std))
    pipeline = [
        dict(type='LoadImage', **load),
        dict(type='ResizeToCover', size=64),
        dict(type='mmpretrain.CenterCrop', crop_size=64),
        dict(type='RandomBlockMask', mask_patch_size=16),
        dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
    ]
    cfg = Config(
        dict(
            default_scope='simmim_mm',
            model=dict(type='MaskedImageModel', backbone=backbone, data_preprocessor=preprocessor),
            val_dataloader=dict(dataset=dict(type='ImageDataset', pipeline=pipeline)),
        )
    )
    state = {f'backbone.{name}': value for name, value in module.state_dict().items()}
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=state), path)
    return path
