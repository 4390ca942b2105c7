"""Small models with teachers."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.structures import BaseDataElement

from simmim_mm.checkpoint import write_checkpoint
from simmim_mm.registry import DATASETS, MODELS

VIT = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16)
WIDE = dict(embed_dims=12, num_layers=3, num_heads=3, feedforward_channels=24)
SWIN = dict(embed_dims=4, depths=[1, 1], num_heads=[1, 2])
STATS = dict(type='MIMDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3)
TOKEN = dict(neck=dict(type='PixelShuffleDecoder'), head=dict(type='PixelHead'))
MAE = dict(
    neck=dict(type='TransformerDecoder', decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=2),
    head=dict(type='PixelHead'),
)
ALONE = dict(neck=None, head=None)
STUDENTS = dict(
    vit=(dict(type='MaskedViT', arch=VIT, img_size=32, patch_size=8), TOKEN),
    mae=(dict(type='MaskedViT', arch=VIT, img_size=32, patch_size=8, mask_mode='gather'), MAE),
    swin=(dict(type='MaskedSwin', arch=SWIN, img_size=32, window_size=4, out_indices=(1,)), TOKEN),
    sparse=(
        dict(
            type='MaskedSwin',
            arch=SWIN,
            img_size=32,
            window_size=4,
            out_indices=(0, 1),
            mask_mode='gather',
        ),
        dict(MAE, neck=dict(MAE['neck'], with_cls_token=False)),
    ),
    resnet=(dict(type='MaskedResNet', depth=18, stem_channels=4, base_channels=4), TOKEN),
)


def write_teacher(folder: Path, backbone=None, seed=7) -> str:
    """A checkpoint of a pretraining with a wide ViT, or another backbone."""
    backbone = backbone or dict(type='MaskedViT', arch=WIDE, img_size=32, patch_size=4)
    torch.manual_seed(seed)
    network = MODELS.build(backbone)
    network.init_weights()
    model = dict(backbone=backbone, data_preprocessor=dict(STATS, mean=[100.0] * 3))
    weights = {f'backbone.{name}': value for name, value in network.state_dict().items()}
    meta = dict(cfg=Config(dict(model=model)).pretty_text)
    path = folder / f'teacher_{seed}.pth'
    write_checkpoint(dict(meta=meta, state_dict=weights), path)
    return str(path)


def build(student='vit', teacher=None, parts=None, seed=0, **kwargs):
    torch.manual_seed(seed)
    backbone, usual = STUDENTS[student]
    model = MODELS.build(
        dict(
            type='MaskedImageModel',
            backbone=dict(backbone),
            data_preprocessor=STATS,
            teacher=teacher,
            **(usual if parts is None else parts),
            **kwargs,
        )
    )
    model.init_weights()
    return model


def samples(count=2, side=4):
    masks = torch.eye(side, dtype=torch.bool).expand(count, -1, -1)
    return [BaseDataElement(mask=mask) for mask in masks]


@DATASETS.register_module(name='_Noise')
class Images(torch.utils.data.Dataset):
    """Noise, the same in every epoch, under the same masks."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(int(index))
        image = torch.randint(256, (3, 32, 32), generator=generator, dtype=torch.uint8)
        return dict(inputs=image, data_samples=samples(1)[0])
