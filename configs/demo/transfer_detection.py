# Demo: a short training of Mask R-CNN on the labeled shapes of `simmim make-shapes`.
_base_ = [
    '../downstream/detection/mask-rcnn_swin-micro-w6_1xb4-coslr-36e_coco-json.py',
    '_base_/three_stages.py',
]

data_root = 'data/shapes/'
max_iters = 400
scale = (96, 96)
width = 64
taken = dict(in_channels=width)
load = dict(type='LoadImageFromFile')
resize = dict(type='Resize', scale=scale, keep_ratio=True)
annotations = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
flip = dict(type='RandomFlip', prob=0.5)

model = dict(
    backbone=_base_.three_stages,
    neck=dict(_base_.three_maps, out_channels=width, num_outs=4),
    # for objects of 15 pixels and more
    rpn_head=dict(
        taken,
        feat_channels=width,
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=width, featmap_strides=[4, 8, 16]),
        bbox_head=taken,
        mask_roi_extractor=dict(out_channels=width, featmap_strides=[4, 8, 16]),
        mask_head=dict(taken, conv_out_channels=width),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=200, max_per_img=100), rcnn=dict(sampler=dict(num=32))
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=50)),
)
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler'),
    dataset=dict(
        data_root=data_root,
        pipeline=[load, annotations, resize, flip, dict(type='PackDetInputs')],
    ),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root=data_root,
        pipeline=[
            load,
            resize,
            annotations,
            dict(type='PackDetInputs', meta_keys=_base_.meta_keys),
        ],
    ),
)
val_evaluator = dict(ann_file=data_root + _base_.val_json)
test_dataloader = val_dataloader
test_evaluator = val_evaluator

# The same rate for all layers: from scratch, the first layers have most to learn.
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    constructor='DefaultOptimWrapperConstructor',
    paramwise_cfg=dict(_delete_=True, flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=20, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=20, end=max_iters, by_epoch=False),
]
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters
)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
