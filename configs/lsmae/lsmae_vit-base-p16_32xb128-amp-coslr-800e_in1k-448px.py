# LSMAE, ViT-B/16 at 448 pixels, 800 epochs of ImageNet-1k.
#
# MAE on 28 x 28 tokens, of which blocks of 2 x 2 are masked together, with a smaller decoder.
_base_ = '../mae/mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'

img_size = 448
crop = dict(_base_.crop, scale=img_size)
val_resize = dict(_base_.val_resize, size=img_size)
val_crop = dict(_base_.val_crop, crop_size=img_size)
mask = dict(_base_.mask, mask_patch_size=32)

model = dict(
    backbone=dict(img_size=img_size), neck=dict(decoder_embed_dim=384, decoder_num_heads=12)
)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(pipeline=[_base_.load, crop, _base_.flip, mask, _base_.pack]),
)
val_dataloader = dict(dataset=dict(pipeline=[_base_.load, val_resize, val_crop, mask, _base_.pack]))
