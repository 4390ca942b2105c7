# A small one for a folder of images and a workstation without a GPU.
_base_ = '../mae/mae_vit-micro-p8_1xb64-coslr-300e_folder-96px.py'

img_size = 128
patch_size = 16
crop = dict(_base_.crop, scale=img_size)
mask = dict(_base_.mask, mask_patch_size=patch_size, token_stride=patch_size)

model = dict(
    backbone=dict(_delete_=True, type='MaskedConvViT', arch='tiny', img_size=img_size),
    neck=dict(patch_size=patch_size, img_size=img_size, with_cls_token=False),
    target=[dict(type='NormPix', patch_size=patch_size)],
)
train_dataloader = dict(dataset=dict(pipeline=[_base_.load, crop, _base_.flip, mask, _base_.pack]))
