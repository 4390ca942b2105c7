# ImageNet for SimMIM: trained on one part, validated on the other.
_base_ = 'simmim.py'

val_data_root = 'data/imagenet/val'
# Held-out images, with the same masks in every epoch.
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='simmim_mm.stack_images'),
    sampler=dict(type='ReproducibleSampler', shuffle=False, fixed=True),
    dataset=dict(
        type='ImageDataset',
        data_root=val_data_root,
        pipeline=[_base_.load, _base_.val_resize, _base_.val_crop, _base_.mask, _base_.pack],
    ),
)
val_cfg = dict()
val_evaluator = dict(type='MaskedLoss')
