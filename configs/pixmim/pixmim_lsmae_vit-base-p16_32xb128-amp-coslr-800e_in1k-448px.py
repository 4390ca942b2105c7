# PixMIM on LSMAE, ViT-B/16 at 448 pixels, 800 epochs of ImageNet-1k.
_base_ = ['../lsmae/lsmae_vit-base-p16_32xb128-amp-coslr-800e_in1k-448px.py', '../_base_/pixmim.py']

crop = dict(_base_.pixmim_crop, size=_base_.img_size)
model = dict(target=[*_base_.pixmim_target, *_base_.model.target])
train_dataloader = dict(
    dataset=dict(pipeline=[_base_.load, crop, _base_.flip, _base_.mask, _base_.pack])
)
