# UPerNet for your own images and label maps (_base_/folder.py) on a workstation without a GPU.
#
#   python tools/train.py CONFIG --pretrained PRETRAINED.pth
_base_ = [
    '_base_/upernet_swin.py',
    '_base_/folder.py',
    '_base_/coslr-4k.py',
    '_base_/runtime.py',
    '../_base_/backbones/swin-micro.py',
]

checkpoint = None  # of the pretraining; None: from scratch
num_classes = len(_base_.classes)
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
norm_cfg = dict(type='BN')  # of one process, without a GPU too

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(_base_.backbone, _delete_=True, init_cfg=pretrained),
    decode_head=dict(
        in_channels=_base_.channels, channels=128, num_classes=num_classes, norm_cfg=norm_cfg
    ),
    auxiliary_head=dict(
        in_channels=_base_.channels[2], channels=64, num_classes=num_classes, norm_cfg=norm_cfg
    ),
)
