# RetinaNet on a Swin of 5M parameters, for your own COCO json file of boxes, without a GPU.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/backbones/swin-micro.py',
    '_base_/coco_json_boxes.py',
    '_base_/coslr-36e.py',
]

width = 96

model = dict(
    # RetinaNet leaves the map of stride 4 out.
    backbone=dict(_base_.dense_backbone, _delete_=True, out_indices=(1, 2, 3)),
    neck=dict(in_channels=_base_.maps.in_channels[1:], out_channels=width, start_level=0),
    bbox_head=dict(
        dict.fromkeys(('in_channels', 'feat_channels'), width),
        num_classes=len(_base_.classes),
        stacked_convs=2,
    ),
)
