# Faster R-CNN on a Swin of 5M parameters, for your own COCO json file of boxes, without a GPU.
_base_ = [
    '_base_/mask-rcnn_narrow.py',
    '../_base_/backbones/swin-micro.py',
    '_base_/coco_json_boxes.py',
    '_base_/coslr-36e.py',
]

model = dict(
    type='FasterRCNN',
    backbone=dict(_base_.dense_backbone, _delete_=True),
    neck=_base_.maps,
    roi_head=dict(
        bbox_head=dict(num_classes=len(_base_.classes)), mask_roi_extractor=None, mask_head=None
    ),
)
