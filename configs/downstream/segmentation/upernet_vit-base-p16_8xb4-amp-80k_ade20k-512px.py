# UPerNet on a plain ViT-B, 80000 iterations of ADE20K.
#
# The maps of four blocks, resampled to strides 4 to 32.
_base_ = [
    '_base_/upernet_vit.py',
    '_base_/ade20k_80k.py',
    '../_base_/backbones/mae-vit-base-p16.py',
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        _base_.backbone,
        _delete_=True,
        img_size=512,
        frozen_pos_embed=False,
        out_indices=(3, 5, 7, 11),
        drop_path_rate=0.1,
    ),
    decode_head=dict(in_channels=4 * [_base_.maps.in_channels], num_classes=150),
    auxiliary_head=dict(_base_.maps, num_classes=150),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.65))
