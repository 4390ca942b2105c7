# Mask R-CNN on COCO with ConvMAE's encoder. The 25 epochs are those of its authors, who restrict
# the attention to windows; rate, decay and layer decay are those of ViTDet, for batches of 32.
_base_ = 'mask-rcnn_swin-base-w7_8xb4-amp-lsj-3x_coco.py'

checkpoint = None  # of the pretraining; None: from scratch
max_epochs = 25
channels = [256, 384, 768]
model = dict(
    backbone=dict(
        _delete_=True,
        type='simmim_mm.MaskedConvViT',
        arch='base',
        img_size=1024,
        out_indices=(0, 1, 2),
        drop_path_rate=0.1,
        frozen_pos_embed=False,
        fusion=False,  # layers that only the pretraining uses
        init_cfg=checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.'),
    ),
    neck=dict(in_channels=channels),
)
optim_wrapper = dict(
    optimizer=dict(lr=5e-5, weight_decay=0.1),
    constructor='simmim_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.7),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, end=500, by_epoch=False),
    dict(type='MultiStepLR', end=max_epochs, milestones=[22, 24], gamma=0.1),
]
train_cfg = dict(max_epochs=max_epochs)
