# Demo: a short pretraining with MAE on the unlabeled digits of `make demo-transfer`.
_base_ = '../mae/mae_vit-micro-p4_1xb128-coslr-300e_cifar10-32px.py'

data_root = 'work_dirs/demo_transfer/digits/unlabeled'
img_size = 24
max_iters = 1500
# No flips: the mirror image of a digit is none.
shift = dict(type='mmpretrain.RandomCrop', crop_size=img_size, padding=2, padding_mode='edge')

model = dict(
    backbone=dict(
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=img_size,
    ),
    neck=dict(decoder_embed_dim=64, decoder_depth=1, decoder_num_heads=4),
    # Pixels as they are, not normalized patch by patch: most patches show a dark ground only.
    target=[],
)
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(data_root=data_root, pipeline=[_base_.load, shift, _base_.mask, _base_.pack]),
)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
warmup = dict(type='WarmupLR', start_factor=0.0, end=100, by_epoch=False)
cosine = dict(type='CosineAnnealingLR', eta_min=0.0, begin=100, end=max_iters, by_epoch=False)
param_scheduler = [warmup, cosine]
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=max_iters)
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
