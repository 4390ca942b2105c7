# PixMIM on SimMIM, Swin-B at 192 pixels, 100 epochs of ImageNet-1k.
_base_ = [
    '../simmim/simmim_swin-base-w6_8xb256-amp-coslr-100e_in1k-192px.py',
    '../_base_/pixmim.py',
]

crop = dict(_base_.pixmim_crop, size=_base_.img_size)
model = dict(target=_base_.pixmim_target)
train_dataloader = dict(
    dataset=dict(pipeline=[_base_.load, crop, _base_.flip, _base_.mask, _base_.pack])
)
