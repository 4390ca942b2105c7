# UPerNet on Swin-T, for your own images and segmentation maps and one GPU.
_base_ = [
    '_base_/upernet_swin.py',
    '_base_/folder.py',
    '_base_/coslr-4k.py',
    '../_base_/backbones/swin-tiny.py',
]

# Without SyncBN, which needs GPUs.
heads = dict(num_classes=len(_base_.classes), norm_cfg=dict(type='BN'))

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(_base_.dense_backbone, _delete_=True),
    decode_head=heads,
    auxiliary_head=heads,
)
optim_wrapper = dict(type='AmpOptimWrapper')
