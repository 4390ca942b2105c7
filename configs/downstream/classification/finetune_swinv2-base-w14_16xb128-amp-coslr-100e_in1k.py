# Fine-tune Swin v2-B of SimMIM on ImageNet-1k at 224 pixels with windows of 14.
_base_ = '_base_/finetune_simmim.py'

model = dict(
    backbone=dict(
        type='simmim_mm.MaskedSwinV2',
        arch='base',
        img_size=224,
        window_size=14,
        pretrained_window_sizes=[12, 12, 12, 6],  # 12, clamped to the maps of 192 pixels
        drop_path_rate=0.1,
    ),
    neck=dict(type='GlobalAveragePooling'),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
