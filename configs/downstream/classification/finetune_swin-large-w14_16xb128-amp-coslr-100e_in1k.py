# SimMIM, pretrained for 800 epochs: 85.4 in the paper, which says a decay of 0.75; this is the
# authors' code.
_base_ = ['_base_/finetune_simmim.py', '_base_/backbones/swin-large-w14.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(_base_.backbone, drop_path_rate=0.2, init_cfg=pretrained),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(in_channels=_base_.channels),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.7))
