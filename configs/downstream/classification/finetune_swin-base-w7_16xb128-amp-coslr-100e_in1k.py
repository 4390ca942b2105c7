# Fine-tune Swin-B of SimMIM on ImageNet-1k at 224 pixels, after 800 epochs of pretraining.
#
# After 100 epochs of pretraining the layer decay is 0.9.
_base_ = ['_base_/finetune_simmim.py', '../_base_/backbones/swin-base.py']

model = dict(
    backbone=dict(_base_.backbone, drop_path_rate=0.1),
    neck=dict(type='GlobalAveragePooling'),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
