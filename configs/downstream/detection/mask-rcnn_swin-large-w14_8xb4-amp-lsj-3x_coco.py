_base_ = 'mask-rcnn_swin-base-w7_8xb4-amp-lsj-3x_coco.py'

checkpoint = None  # of the pretraining; None: from scratch

model = dict(
    backbone=dict(
        arch='large',
        window_size=14,
        drop_path_rate=0.2,
        init_cfg=checkpoint
        and dict(_delete_=True, type='Pretrained', checkpoint=checkpoint, prefix='backbone.'),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
