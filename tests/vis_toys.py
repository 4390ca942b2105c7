"""A tiny run, its checkpoint and some photographs, for the tests of what draws them."""

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from skimage import data

from simmim_mm.registry import MODELS


def tiny_config(channels: int = 3, size: tuple = (32, 48), **model) -> Config:
    """A run of a tiny ViT on images of ``size``, with blocks of 16 and tokens of 8 pixels."""
    loader = dict(type='LoadImage', channels='rgb' if channels == 3 else channels)
    mask = dict(type='RandomBlockMask', mask_patch_size=16, mask_ratio=0.5)
    steps = [
        loader,
        dict(type='RandomResizedCrop', scale=size, crop_ratio_range=(0.2, 1.0)),
        dict(type='mmpretrain.RandomFlip', prob=0.5),
        mask,
        dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
    ]
    arch = dict(embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=64)
    vit = dict(type='MaskedViT', arch=arch, img_size=size, patch_size=8, in_channels=channels)
    return Config(
        dict(
            default_scope='simmim_mm',
            custom_imports=dict(imports=['simmim_mm'], allow_failed_imports=False),
            model=dict(
                type='MaskedImageModel',
                backbone=dict(vit, with_cls_token=False),
                neck=dict(
                    type='PixelShuffleDecoder', in_channels=32, stride=8, out_channels=channels
                ),
                head=dict(type='PixelHead'),
                data_preprocessor=dict(
                    type='MIMDataPreprocessor', mean=[120.0] * channels, std=[60.0] * channels
                ),
                **model,
            ),
            train_dataloader=dict(
                batch_size=2,
                dataset=dict(type='ImageDataset', data_root='images', pipeline=steps),
            ),
        )
    )


def save_checkpoint(path, cfg: Config, drop: str = '!', text: str | None = None) -> str:
    """What a run would have written; ``drop`` is the prefix of weights to leave out."""
    init_default_scope('simmim_mm')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(drop)}
    meta = dict(cfg=cfg.pretty_text if text is None else text, epoch=1, iter=10)
    torch.save(dict(meta=meta, state_dict=state), path)
    return str(path)


def write_photos(folder) -> None:
    """Three photographs as files, 451x300, 600x400 and 512x512."""
    folder.mkdir()
    for name in ('chelsea', 'coffee', 'astronaut'):
        Image.fromarray(getattr(data, name)()).save(folder / f'{name}.jpg')
