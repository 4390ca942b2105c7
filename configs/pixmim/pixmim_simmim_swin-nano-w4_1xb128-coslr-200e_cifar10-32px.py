_base_ = ['../simmim/simmim_swin-nano-w4_1xb128-coslr-200e_cifar10-32px.py', '../_base_/pixmim.py']

crop = dict(_base_.pixmim_crop, size=_base_.img_size)
model = dict(target=_base_.pixmim_target)
train_dataloader = dict(
    dataset=dict(pipeline=[_base_.load, crop, _base_.flip, _base_.mask, _base_.pack])
)
