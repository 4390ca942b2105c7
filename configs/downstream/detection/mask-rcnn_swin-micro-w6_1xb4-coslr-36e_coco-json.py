# Mask R-CNN on a Swin of 5M parameters, for your own COCO json file, without a GPU.
#
# The first lines of _base_/coco_json.py name the data.
#
#   simmim train CONFIG --pretrained PRETRAINED.pth
_base_ = [
    '_base_/mask-rcnn_narrow.py',
    '../_base_/backbones/swin-micro.py',
    '_base_/coco_json.py',
    '_base_/coslr-36e.py',
]

num_classes = len(_base_.classes)

model = dict(
    backbone=dict(_base_.dense_backbone, _delete_=True),
    neck=_base_.maps,
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)),
)
