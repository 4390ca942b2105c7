# Fine-tune Swin-L of SimMIM on ImageNet-1k at 224 pixels with windows of 14.
#
# The layer decay is that of the authors' code; the paper says 0.75.
_base_ = ['_base_/finetune_simmim.py', '../_base_/backbones/swin-base.py']

model = dict(
    backbone=dict(_base_.backbone, arch='large', window_size=14, drop_path_rate=0.2),
    neck=dict(type='GlobalAveragePooling'),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.7))
