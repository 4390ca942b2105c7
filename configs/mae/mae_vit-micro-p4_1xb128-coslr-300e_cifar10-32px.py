# MAE, a ViT of 4M parameters with patches of 4 pixels, 300 epochs of CIFAR-10.
#
# `python tools/dataset/cifar10_folders.py data/cifar10` writes the images. For a GPU or a patient
# CPU.
_base_ = 'mae_vit-micro-p8_1xb64-coslr-300e_folder-96px.py'

img_size = 32
patch_size = 4
crop = dict(_base_.crop, scale=img_size)
mask = dict(_base_.mask, mask_patch_size=patch_size)

model = dict(
    data_preprocessor=dict(mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7]),
    backbone=dict(img_size=img_size, patch_size=patch_size),
)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        data_root='data/cifar10/train',
        pipeline=[_base_.load, crop, _base_.flip, mask, _base_.pack],
    ),
)
auto_scale_lr = dict(base_batch_size=128)
