# ConvMAE-B at 224 pixels, 1600 epochs of ImageNet-1k.
#
# The recipe of MAE with a batch of 3072. The mask is on the grid of the last stage (16 pixels).
_base_ = '../mae/mae_vit-base-p16_8xb512-amp-coslr-1600e_in1k.py'

lr = 1.5e-4 * 3072 / 256

model = dict(
    backbone=dict(_delete_=True, type='MaskedConvViT', arch='base', img_size=_base_.img_size)
)
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=lr))
auto_scale_lr = dict(base_batch_size=3072)
