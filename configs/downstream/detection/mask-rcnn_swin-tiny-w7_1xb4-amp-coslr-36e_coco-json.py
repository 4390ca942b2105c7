# Mask R-CNN on Swin-T, for your own COCO json file and one GPU.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/backbones/swin-tiny.py',
    '_base_/coco_json.py',
    '_base_/coslr-36e.py',
]

num_classes = len(_base_.classes)

model = dict(
    backbone=dict(_base_.dense_backbone, _delete_=True),
    neck=dict(in_channels=[96, 192, 384, 768]),
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)),
)
optim_wrapper = dict(type='AmpOptimWrapper')
