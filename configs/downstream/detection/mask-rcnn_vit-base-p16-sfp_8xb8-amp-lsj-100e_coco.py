# Mask R-CNN on a plain ViT-B (ViTDet, arXiv 2203.16527), 100 epochs of COCO.
#
# Batches of 64, AdamW at a rate of 1e-4 with a weight decay of 0.1, layer decay 0.7, layer norms in
# the heads. Attention is within windows of 14 x 14 tokens, the area that the pretraining saw, and
# in every third block everywhere. Without relative positions, and with the class token.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::common/lsj-100e_coco-instance.py',
    '../_base_/backbones/mae-vit-base-p16.py',
]

lr = 1e-4
norm_cfg = dict(type='mmpretrain.LN2d', eps=1e-6)
image_size = (1024, 1024)

custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)
custom_hooks = [dict(type='simmim_mm.LossHook')]  # stops a training that diverges
model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type='BatchFixedSizePad', size=image_size, pad_mask=True)]
    ),
    backbone=dict(
        _base_.backbone,
        _delete_=True,
        type='simmim_mm.WindowedViT',
        img_size=image_size,
        window_size=14,
        drop_path_rate=0.1,
    ),
    neck=dict(
        _base_.maps,
        _delete_=True,
        type='simmim_mm.SimpleFeaturePyramid',
        norm_cfg=norm_cfg,
    ),
    rpn_head=dict(num_convs=2),
    roi_head=dict(
        bbox_head=dict(type='Shared4Conv1FCBBoxHead', conv_out_channels=256, norm_cfg=norm_cfg),
        mask_head=dict(norm_cfg=norm_cfg),
    ),
)
train_dataloader = dict(batch_size=8, num_workers=4)
optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.1),
    constructor='simmim_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.7, flat_decay_mult=0.0, custom_keys=dict(pos_embed=dict(decay_mult=0.0))
    ),
)
# 25 passes over the images repeated four times; the rate drops at 8/9 and 26/27 of the training.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, end=250, by_epoch=False),
    dict(type='MultiStepLR', end=25, milestones=[22, 24], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=64)
