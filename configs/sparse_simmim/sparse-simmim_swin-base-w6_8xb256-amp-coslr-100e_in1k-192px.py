# Sparse SimMIM, Swin-B at 192 pixels, 100 epochs of ImageNet-1k.
#
# Data and schedule are SimMIM's; the mask ratio is GreenMIM's.
_base_ = [
    '../_base_/datasets/imagenet_simmim.py',
    '../_base_/models/sparse_simmim_swin-base.py',
    '../_base_/schedules/simmim_100e.py',
    '../_base_/default_runtime.py',
]

mask = dict(_base_.mask, mask_ratio=0.75)

train_dataloader = dict(
    batch_size=256,
    dataset=dict(pipeline=[_base_.load, _base_.crop, _base_.flip, mask, _base_.pack]),
)
val_dataloader = dict(
    batch_size=256,
    dataset=dict(pipeline=[_base_.load, _base_.val_resize, _base_.val_crop, mask, _base_.pack]),
)
