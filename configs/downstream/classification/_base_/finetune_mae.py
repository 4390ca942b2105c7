# MAE's and ConvMAE's fine-tuning of base models: 100 epochs at a rate of 2e-3 for a batch of 1024,
# 5 of them warm-up from 0; no gradient clipping.
_base_ = 'finetune_simmim.py'

lr = 5e-4 * 1024 / 256

model = dict(head=dict(init_cfg=dict(std=2e-5)))
optim_wrapper = dict(
    optimizer=dict(lr=lr), clip_grad=None, paramwise_cfg=dict(layer_decay_rate=0.65)
)
half_cosine = dict(
    type='CosineAnnealingLR',
    eta_min_ratio=1e-6 / lr,
    begin=5,
    end=100,
    by_epoch=True,
    convert_to_iter_based=True,
)
param_scheduler = [dict(_base_.warmup, start_factor=0.0, end=5), half_cosine]
auto_scale_lr = dict(base_batch_size=1024)
