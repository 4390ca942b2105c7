# UPerNet on ConvMAE-B's encoder, 80000 iterations of ADE20K.
#
# Maps of stride 4, 8 and 16.
_base_ = [
    '_base_/upernet_swin.py',
    '_base_/ade20k_80k.py',
    '../_base_/backbones/convvit-base.py',
]

model = dict(
    data_preprocessor=dict(size=(512, 512), test_cfg=dict(size_divisor=16)),
    backbone=dict(_base_.dense_backbone, _delete_=True, img_size=512),
    decode_head=dict(_base_.maps, in_index=[0, 1, 2], num_classes=150),
    auxiliary_head=dict(in_channels=_base_.maps.in_channels[2], num_classes=150),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.65))
