# RetinaNet on a Swin of 5M parameters, for your own COCO json file of boxes, without a GPU.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/backbones/swin-micro.py',
    '_base_/coco_json_boxes.py',
    '_base_/coslr-36e.py',
]

width = 96

model = dict(
    backbone=dict(_base_.dense_backbone, _delete_=True),
    neck=dict(_base_.maps, out_channels=width),
    bbox_head=dict(
        dict.fromkeys(('in_channels', 'feat_channels'), width),
        num_classes=len(_base_.classes),
        stacked_convs=2,
    ),
)
