# Demo: a short pretraining with MAE on the unlabeled textures of `make demo-transfer`.
_base_ = '../_base_/default_runtime.py'

data_root = 'work_dirs/demo_transfer/textures/unlabeled'
img_size, patch_size = 32, 4
max_iters = 1200
warmup_iters = 100
lr = 1.5e-3

model = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(type='MIMDataPreprocessor', mean=[127.0] * 3, std=[50.0] * 3),
    backbone=dict(
        type='MaskedViT',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=256),
        img_size=img_size,
        patch_size=patch_size,
        mask_mode='gather',
    ),
    neck=dict(
        type='TransformerDecoder', decoder_embed_dim=64, decoder_depth=1, decoder_num_heads=4
    ),
    target=[dict(type='NormPix')],
    head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l2')),
)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='ReproducibleSampler', shuffle=True),
    dataset=dict(
        type='ImageDataset',
        data_root=data_root,
        pipeline=[
            dict(type='LoadImage'),
            dict(type='RandomResizedCrop', scale=img_size, crop_ratio_range=(0.5, 1.0)),
            dict(type='mmpretrain.RandomFlip', prob=0.5),
            dict(
                type='RandomBlockMask',
                mask_patch_size=patch_size,
                mask_ratio=0.75,
                rounding='floor_visible',
            ),
            dict(type='mmpretrain.PackInputs', algorithm_keys=['mask', 'nodata']),
        ],
    ),
)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='FusedAdamW', lr=lr, betas=(0.9, 0.95), weight_decay=0.05),
    clip_grad=dict(max_norm=3.0),
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=warmup_iters, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=warmup_iters,
        end=max_iters,
        by_epoch=False,
    ),
]
train_cfg = dict(by_epoch=False, max_iters=max_iters)
default_hooks = dict(
    logger=dict(interval=100),
    checkpoint=dict(by_epoch=False, interval=max_iters, max_keep_ckpts=1),
)
log_processor = dict(by_epoch=False)
