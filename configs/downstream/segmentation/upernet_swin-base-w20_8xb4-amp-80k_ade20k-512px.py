# UPerNet on Swin-B with windows of 20, 80000 iterations of ADE20K as in the SimMIM paper.
#
# Appendix C.1. The paper starts from weights that were fine-tuned on ImageNet first, and tests at
# several scales (mmseg's tta_model and tta_pipeline).
_base_ = [
    '_base_/upernet_swin.py',
    '_base_/ade20k_80k.py',
    '../_base_/backbones/swin-base.py',
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(_base_.dense_backbone, _delete_=True, window_size=20),
    decode_head=dict(_base_.maps, num_classes=150),
    auxiliary_head=dict(in_channels=_base_.maps.in_channels[2], num_classes=150),
)
