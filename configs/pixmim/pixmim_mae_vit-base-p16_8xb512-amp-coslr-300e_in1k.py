_base_ = ['../mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py', '../_base_/pixmim.py']

crop = _base_.pixmim_crop
model = dict(target=[*_base_.pixmim_target, *_base_.model.target])
train_dataloader = dict(
    dataset=dict(pipeline=[_base_.load, crop, _base_.flip, _base_.mask, _base_.pack])
)
