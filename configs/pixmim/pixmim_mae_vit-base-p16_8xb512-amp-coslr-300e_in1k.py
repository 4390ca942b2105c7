# PixMIM on MAE, ViT-B/16 at 224 pixels, 300 epochs of ImageNet-1k.
_base_ = ['../mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py', '../_base_/pixmim.py']

crop = dict(_base_.pixmim_crop, size=_base_.img_size)
model = dict(target=[*_base_.pixmim_target, *_base_.model.target])
train_dataloader = dict(
    dataset=dict(pipeline=[_base_.load, crop, _base_.flip, _base_.mask, _base_.pack])
)
