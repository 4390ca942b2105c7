# SimMIM, a three-stage Swin with patches of 2 pixels, 200 epochs of CIFAR-10.
#
# `python tools/dataset/cifar10_folders.py data/cifar10` writes the images. The stages have 16, 8
# and 4 positions per side. In blocks of 4 pixels, the mean distance of a masked pixel from the
# nearest visible one is the same fraction of the image as in the paper. For a GPU or a patient CPU.
_base_ = [
    '../_base_/datasets/folder.py',
    '../_base_/models/simmim_swin-base.py',
    '../_base_/schedules/simmim_100e.py',
    '../_base_/default_runtime.py',
]

img_size = 32
epochs = 200
lr = 1e-3
crop = dict(_base_.crop, scale=img_size)
mask = dict(_base_.mask, mask_patch_size=4)

model = dict(
    data_preprocessor=dict(mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7]),
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=64, depths=[2, 2, 4], num_heads=[2, 4, 8]),
        img_size=img_size,
        patch_size=2,
        window_size=4,
        out_indices=(2,),
    ),
)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        data_root='data/cifar10/train',
        pipeline=[_base_.load, crop, _base_.flip, mask, _base_.pack],
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=lr))
param_scheduler = [_base_.warmup, dict(_base_.cosine, T_max=epochs, end=epochs)]
train_cfg = dict(max_epochs=epochs)
auto_scale_lr = dict(base_batch_size=128)
default_hooks = dict(checkpoint=dict(interval=10))  # epochs are short
