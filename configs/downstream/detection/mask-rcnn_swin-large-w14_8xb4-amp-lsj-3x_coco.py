# Mask R-CNN on Swin-L with windows of 14, 36 epochs of COCO as in the SimMIM paper.
_base_ = 'mask-rcnn_swin-base-w7_8xb4-amp-lsj-3x_coco.py'

model = dict(
    backbone=dict(arch='large', window_size=14, drop_path_rate=0.2),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
