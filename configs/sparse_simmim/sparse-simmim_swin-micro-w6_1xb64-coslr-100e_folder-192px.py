# Sparse SimMIM, a Swin of 5M parameters at 192 pixels, on a folder of images without a GPU.
#
# An image costs about as much as one of 96 pixels under a mask token, of the same blocks.
#
#   simmim train sparse-simmim_swin-micro-w6_1xb64-coslr-100e_folder-192px --data /my/images
_base_ = [
    '../_base_/datasets/folder.py',
    '../_base_/models/sparse_simmim_swin-base.py',
    '../_base_/schedules/simmim_100e.py',
    '../_base_/default_runtime.py',
]

lr = 5e-4
mask = dict(_base_.mask, mask_ratio=0.75)

model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=48, depths=[2, 2, 2, 2], num_heads=[2, 4, 8, 16])
    ),
    neck=dict(decoder_embed_dim=192, decoder_num_heads=6),
)
train_dataloader = dict(
    dataset=dict(pipeline=[_base_.load, _base_.crop, _base_.flip, mask, _base_.pack])
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=lr))
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(checkpoint=dict(interval=10))  # epochs of a folder are short
