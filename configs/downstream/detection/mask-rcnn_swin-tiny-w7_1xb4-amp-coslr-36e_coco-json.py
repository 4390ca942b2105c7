# Mask R-CNN for your own COCO json (_base_/coco_json.py) on one GPU.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/backbones/swin-micro.py',
    '_base_/coco_json.py',
    '_base_/coslr-36e.py',
    '_base_/runtime.py',
]

checkpoint = None  # of the pretraining; None: from scratch
num_classes = len(_base_.classes)
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(
        _base_.backbone,
        _delete_=True,
        arch='tiny',
        img_size=224,
        window_size=7,
        init_cfg=pretrained,
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)),
)
optim_wrapper = dict(type='AmpOptimWrapper')
