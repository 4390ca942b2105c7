# Mask R-CNN on ConvMAE-B's encoder, 25 epochs of COCO.
#
# The epochs are those of its authors, who restrict the attention to windows; rate, weight decay and
# layer decay are those of ViTDet, for batches of 32.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::common/lsj-100e_coco-instance.py',
    '../_base_/backbones/convvit-base.py',
]

max_epochs = 25
lr = 5e-5
no_decay = dict(decay_mult=0.0)

custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)
custom_hooks = [dict(type='simmim_mm.LossHook')]  # stops a training that diverges
model = dict(backbone=dict(_base_.dense_backbone, _delete_=True, img_size=1024), neck=_base_.maps)
train_dataloader = dict(batch_size=4, num_workers=4, dataset=dict(times=1))
optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.1),
    constructor='simmim_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.7,
        flat_decay_mult=0.0,
        custom_keys=dict(pos_embed=no_decay, relative_position_bias_table=no_decay),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, end=500, by_epoch=False),
    dict(type='MultiStepLR', end=max_epochs, milestones=[22, 24], gamma=0.1),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
auto_scale_lr = dict(base_batch_size=32)
