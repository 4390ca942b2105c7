# UPerNet on a Swin of 5M parameters, for your own images and segmentation maps, without a GPU.
#
# The first lines of _base_/folder.py name the data.
#
#   simmim train CONFIG --pretrained PRETRAINED.pth
_base_ = [
    '_base_/upernet_swin.py',
    '_base_/folder.py',
    '_base_/coslr-4k.py',
    '../_base_/backbones/swin-micro.py',
]

# Without SyncBN, which needs GPUs.
heads = dict(num_classes=len(_base_.classes), norm_cfg=dict(type='BN'))

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(_base_.dense_backbone, _delete_=True),
    decode_head=dict(heads, **_base_.maps, channels=128),
    auxiliary_head=dict(heads, in_channels=_base_.maps.in_channels[2], channels=64),
)
