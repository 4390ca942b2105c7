# Mask R-CNN on Swin-B, 36 epochs of COCO as in the SimMIM paper.
#
# Appendix C.1: AdamW at a rate of 6e-5, batches of 32, crops of 1024 pixels at 0.1 to 2 times the
# size. The steps of the rate are those of mmdet's 3x schedule.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::common/lsj-100e_coco-instance.py',
    '../_base_/backbones/swin-base.py',
]

max_epochs = 36
lr = 6e-5
no_decay = dict(decay_mult=0.0)

custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)
custom_hooks = [dict(type='simmim_mm.LossHook')]  # stops a training that diverges
model = dict(backbone=dict(_base_.dense_backbone, _delete_=True), neck=_base_.maps)
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
