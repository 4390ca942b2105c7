# UPerNet on ADE20K as in the SimMIM paper (appendix C.1): 512 pixels, windows of 20 tokens. The
# paper starts from weights that were fine-tuned on ImageNet first, and tests at several scales
# (mmseg's tta_model and tta_pipeline).
_base_ = [
    '_base_/upernet_swin.py',
    '_base_/ade20k_80k.py',
    '_base_/runtime.py',
    '../_base_/backbones/swin-base.py',
]

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(_base_.backbone, _delete_=True, window_size=20, init_cfg=pretrained),
    decode_head=dict(in_channels=_base_.channels, num_classes=150),
    auxiliary_head=dict(in_channels=_base_.channels[2], num_classes=150),
)
