# PixMIM on SimMIM, a Swin of 5M parameters at 96 pixels, on a folder of your own images.
_base_ = ['../simmim/simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px.py', '../_base_/pixmim.py']

crop = dict(_base_.pixmim_crop, size=_base_.img_size)
model = dict(target=_base_.pixmim_target)
train_dataloader = dict(
    dataset=dict(pipeline=[_base_.load, crop, _base_.flip, _base_.mask, _base_.pack])
)
