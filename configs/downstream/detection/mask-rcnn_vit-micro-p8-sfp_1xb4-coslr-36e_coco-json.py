# Mask R-CNN on a plain ViT of 4M parameters (ViTDet), for your own COCO json file, without a GPU.
#
# Attention is within windows of 12 x 12 tokens, the area that the pretraining saw, and in every
# second block everywhere.
_base_ = [
    '_base_/mask-rcnn_narrow.py',
    '../_base_/backbones/vit-micro-p8.py',
    '_base_/coco_json.py',
    '_base_/coslr-36e.py',
]

num_classes = len(_base_.classes)

model = dict(
    backbone=dict(
        _base_.backbone,
        _delete_=True,
        type='simmim_mm.WindowedViT',
        window_size=12,
        drop_path_rate=0.1,
    ),
    neck=dict(
        _base_.maps,
        _delete_=True,
        type='simmim_mm.SimpleFeaturePyramid',
        out_channels=_base_.width,
        scales=(2, 1, 0.5, 0.25),  # of stride 8
    ),
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)),
)
