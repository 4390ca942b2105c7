# SimMIM, ViT-S/16 in BEiT's form at 224 pixels, 100 epochs of ImageNet-1k on one GPU.
#
# Not from the paper. The rate is the authors', times the square root of the ratio of the batches.
# The plain ViT (position embedding, no relative bias, no layer scale) would be
#   backbone=dict(_delete_=True, type='MaskedViT', arch='deit-small', img_size=224, patch_size=16,
#                 mask_mode='token', drop_path_rate=0.1)
_base_ = 'simmim_vit-base-p16_16xb128-amp-steplr-800e_in1k-224px.py'

lr = 2e-4

model = dict(backbone=dict(arch='deit-small'))
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [_base_.warmup, _base_.cosine]
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=128)
