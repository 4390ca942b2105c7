"""Checkpoints of tiny backbones, with weights large enough that a misplaced one shows."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from simmim_mm.registry import MODELS

SWIN = dict(embed_dims=8, depths=[2, 2, 1, 2], num_heads=[2, 2, 4, 4])
VIT = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=64)
# Family: arguments as pretrained, then what --window and --img-size ask for.
FAMILIES = {
    'MaskedSwin': (
        dict(arch=SWIN, img_size=128, window_size=4),
        dict(window=6, size=(192, 192)),
    ),
    'MaskedSwinV2': (
        dict(
            arch=dict(SWIN, extra_norm_every_n_blocks=0),
            img_size=128,
            window_size=4,
        ),
        dict(window=6, size=(192, 192)),
    ),
    'MaskedViT': (
        dict(arch=VIT, img_size=32, patch_size=8, mask_mode='gather'),
        dict(size=(48, 48)),
    ),
    'MaskedBEiT': (
        dict(arch=VIT, img_size=32, patch_size=8, layer_scale_init_value=0.1),
        dict(size=(48, 48)),
    ),
    'MaskedConvViT': (
        dict(
            arch=dict(embed_dims=(8, 8, 16), depths=(1, 1, 1), num_heads=2, mlp_ratios=(2, 2, 2)),
            img_size=32,
        ),
        {},
    ),
}


def arguments(family: str, **changes) -> dict:
    """Of a tiny backbone of that class."""
    return {**FAMILIES[family][0], **changes}


def randomize(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights at random, of a size that every one of them matters."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if 'logit_scale' in name:
                p.add_(torch.randn_like(p) * 0.5)
            elif name.endswith('norm.weight') or p.ndim == 1:
                p.copy_(1 + 0.5 * torch.randn_like(p) if 'weight' in name else torch.randn_like(p))
            else:
                p.normal_(std=0.3)
    return model


def save(path: Path, family: str, drop: str = '!', text: str | None = None, **changes) -> Path:
    """A checkpoint as training writes it; ``drop`` is the prefix of weights to leave out."""
    init_default_scope('simmim_mm')
    backbone = dict(type=family, **arguments(family, **changes))
    model = randomize(MODELS.build(dict(backbone)))
    state = {f'backbone.{k}': v for k, v in model.state_dict().items()}
    state['neck.decoder.0.weight'] = torch.zeros(4, 4, 1, 1)
    state = {k: v for k, v in state.items() if not k.startswith(drop)}
    data = dict(type='MIMDataPreprocessor', mean=[120.0, 110.0, 100.0], std=[60.0, 60.0, 60.0])
    config = Config(
        dict(model=dict(type='MaskedImageModel', backbone=backbone, data_preprocessor=data))
    )
    meta = dict(cfg=config.pretty_text if text is None else text, epoch=1, iter=10)
    torch.save(dict(meta=meta, state_dict=state), path)
    return path
