# RetinaNet: one stage, boxes alone.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/backbones/swin-micro.py',
    '_base_/coco_json_boxes.py',
    '_base_/coslr-36e.py',
    '_base_/runtime.py',
]

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(_base_.backbone, _delete_=True, init_cfg=pretrained),
    neck=dict(in_channels=_base_.channels, out_channels=96),
    bbox_head=dict(
        num_classes=len(_base_.classes), in_channels=96, feat_channels=96, stacked_convs=2
    ),
)
