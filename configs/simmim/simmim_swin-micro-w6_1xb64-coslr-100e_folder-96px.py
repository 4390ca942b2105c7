# SimMIM, a Swin of 5M parameters at 96 pixels, on a folder of your own images without a GPU.
#
#   simmim train simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px --data /my/images
_base_ = [
    '../_base_/datasets/folder.py',
    '../_base_/models/simmim_swin-base.py',
    '../_base_/schedules/simmim_100e.py',
    '../_base_/default_runtime.py',
]

img_size = 96
lr = 5e-4
crop = dict(_base_.crop, scale=img_size)
# A sixth of the side, as in SimMIM.
mask = dict(_base_.mask, mask_patch_size=img_size // 6)

model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=48, depths=[2, 2, 2, 2], num_heads=[2, 4, 8, 16]),
        img_size=img_size,
    )
)
train_dataloader = dict(dataset=dict(pipeline=[_base_.load, crop, _base_.flip, mask, _base_.pack]))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=lr))
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(checkpoint=dict(interval=10))  # epochs of a folder are short
