# SimMIM, pretrained for 800 epochs: 84.0 in the paper. After 100 epochs (83.5) the decay is 0.9.
_base_ = ['_base_/finetune_simmim.py', '_base_/backbones/swin-base-w7.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(_base_.backbone, drop_path_rate=0.1, init_cfg=pretrained),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(in_channels=_base_.channels),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
