# UPerNet on a plain ViT of 4M parameters, for your own images and segmentation maps, without a GPU.
#
# The maps of four blocks, of stride 8, resampled to strides 4 to 32.
_base_ = [
    '_base_/upernet_vit.py',
    '_base_/folder.py',
    '_base_/coslr-4k.py',
    '../_base_/backbones/vit-micro-p8.py',
]

width = _base_.maps.in_channels
maps = dict(in_channels=4 * [width])
# Without SyncBN, which needs GPUs.
heads = dict(num_classes=len(_base_.classes), norm_cfg=dict(type='BN'))

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(
        _base_.backbone,
        _delete_=True,
        frozen_pos_embed=False,
        out_indices=(1, 3, 5, 7),
        drop_path_rate=0.1,
    ),
    neck=dict(
        maps, _delete_=True, type='MultiLevelNeck', out_channels=width, scales=[2, 1, 0.5, 0.25]
    ),
    decode_head=dict(heads, **maps, channels=128),
    auxiliary_head=dict(heads, **_base_.maps, channels=64),
)
