# LSMAE, a ViT of 4M parameters at 128 pixels, on a folder of your own images without a GPU.
_base_ = '../mae/mae_vit-micro-p8_1xb64-coslr-300e_folder-96px.py'

img_size = 128
crop = dict(_base_.crop, scale=img_size)
mask = dict(_base_.mask, mask_patch_size=16)

model = dict(backbone=dict(img_size=img_size))
train_dataloader = dict(dataset=dict(pipeline=[_base_.load, crop, _base_.flip, mask, _base_.pack]))
