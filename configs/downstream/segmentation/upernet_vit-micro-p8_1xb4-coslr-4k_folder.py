# On a plain ViT of stride 8: maps of four blocks, brought to strides 4 to 32.
_base_ = [
    '_base_/upernet_vit.py',
    '_base_/folder.py',
    '_base_/coslr-4k.py',
    '_base_/runtime.py',
]

checkpoint = None  # of the pretraining; None: from scratch
num_classes = len(_base_.classes)
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
dims = 192
norm_cfg = dict(type='BN')  # of one process, without a GPU too

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(
        _delete_=True,
        type='simmim_mm.MaskedViT',
        arch=dict(embed_dims=dims, num_layers=8, num_heads=6, feedforward_channels=768),
        img_size=96,
        patch_size=8,
        mask_mode='gather',
        frozen_pos_embed=False,
        out_indices=(1, 3, 5, 7),
        drop_path_rate=0.1,
        init_cfg=pretrained,
    ),
    # strides 4 to 32
    neck=dict(
        _delete_=True,
        type='MultiLevelNeck',
        in_channels=[dims] * 4,
        out_channels=dims,
        scales=[2, 1, 0.5, 0.25],
    ),
    decode_head=dict(
        in_channels=[dims] * 4, channels=128, num_classes=num_classes, norm_cfg=norm_cfg
    ),
    auxiliary_head=dict(in_channels=dims, channels=64, num_classes=num_classes, norm_cfg=norm_cfg),
)
