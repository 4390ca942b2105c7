# For one GPU.
_base_ = 'upernet_swin-micro-w6_1xb4-coslr-4k_folder.py'

checkpoint = None  # of the pretraining; None: from scratch

model = dict(
    backbone=dict(
        arch='tiny',
        img_size=224,
        window_size=7,
        init_cfg=checkpoint
        and dict(_delete_=True, type='Pretrained', checkpoint=checkpoint, prefix='backbone.'),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768], channels=512),
    auxiliary_head=dict(in_channels=384, channels=256),
)
optim_wrapper = dict(type='AmpOptimWrapper')
