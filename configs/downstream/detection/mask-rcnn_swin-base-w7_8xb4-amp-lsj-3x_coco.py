# Mask R-CNN on COCO as in the SimMIM paper (appendix C.1): 36 epochs, AdamW of rate 6e-5, batches
# of 32, crops of 1024 pixels at 0.1 to 2 times the size. The steps are those of mmdet's 3x.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::common/lsj-100e_coco-instance.py',
    '../_base_/backbones/swin-base.py',
]

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
max_epochs = 36
lr = 6e-5
no_decay = dict(decay_mult=0.0)

custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)
model = dict(
    backbone=dict(_base_.backbone, _delete_=True, init_cfg=pretrained),
    neck=dict(in_channels=_base_.channels),
)
train_dataloader = dict(batch_size=4, num_workers=4, dataset=dict(times=1))
optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        flat_decay_mult=0.0,
        custom_keys=dict(pos_embed=no_decay, relative_position_bias_table=no_decay),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, end=1000, by_epoch=False),
    dict(type='MultiStepLR', end=max_epochs, milestones=[27, 33], gamma=0.1),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
auto_scale_lr = dict(base_batch_size=32)
find_unused_parameters = True  # the mask token takes no part after the pretraining
