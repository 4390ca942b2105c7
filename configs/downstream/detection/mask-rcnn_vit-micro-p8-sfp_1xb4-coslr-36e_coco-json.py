# Mask R-CNN on a plain ViT by a simple feature pyramid (ViTDet).
_base_ = [
    '_base_/mask-rcnn_narrow.py',
    '../_base_/backbones/vit-micro-p8.py',
    '_base_/coco_json.py',
    '_base_/coslr-36e.py',
    '_base_/runtime.py',
]

checkpoint = None  # of the pretraining; None: from scratch
num_classes = len(_base_.classes)
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(_base_.backbone, _delete_=True, init_cfg=pretrained),
    neck=dict(
        _delete_=True,
        type='simmim_mm.SimpleFeaturePyramid',
        in_channels=_base_.channels,
        out_channels=_base_.width,
        scales=(2, 1, 0.5, 0.25),  # of stride 8
    ),
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)),
)
