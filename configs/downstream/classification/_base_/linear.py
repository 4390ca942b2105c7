# MAE's linear probe (arXiv 2111.06377, appendix A.1): a linear layer behind a batch norm without
# weights, on a frozen backbone; LARS at a rate of 6.4 for a batch of 16384, 90 epochs, 10 of them
# warm-up.
_base_ = 'data.py'

lr = 0.1 * 16384 / 256
train_pipeline = [_base_.load, _base_.crop, _base_.flip, _base_.pack]

model = dict(
    type='simmim_mm.FrozenClassifier',
    data_preprocessor=_base_.preprocessor,
    neck=dict(type='simmim_mm.AveragePool', norm='batch'),
    head=dict(
        type='LinearClsHead',
        num_classes=_base_.num_classes,
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.01),
    ),
)
train_dataloader = dict(batch_size=2048, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    type='simmim_mm.AmpOptimWrapper',
    optimizer=dict(type='LARS', lr=lr, momentum=0.9, weight_decay=0.0),
    paramwise_cfg=dict(custom_keys=dict(bias=dict(lars_exclude=True))),
)
warmup = dict(
    type='simmim_mm.WarmupLR', start_factor=0.0, end=10, by_epoch=True, convert_to_iter_based=True
)
cosine = dict(
    type='CosineAnnealingLR',
    eta_min=0.0,
    begin=10,
    end=90,
    by_epoch=True,
    convert_to_iter_based=True,
)
param_scheduler = [warmup, cosine]
train_cfg = dict(by_epoch=True, max_epochs=90)
auto_scale_lr = dict(base_batch_size=16384)
