# PixMIM on ConvMAE-B at 224 pixels, 1600 epochs of ImageNet-1k.
_base_ = ['../convmae/convmae_convvit-base_24xb128-amp-coslr-1600e_in1k.py', '../_base_/pixmim.py']

crop = dict(_base_.pixmim_crop, size=_base_.img_size)
model = dict(target=[*_base_.pixmim_target, *_base_.model.target])
train_dataloader = dict(
    dataset=dict(pipeline=[_base_.load, crop, _base_.flip, _base_.mask, _base_.pack])
)
