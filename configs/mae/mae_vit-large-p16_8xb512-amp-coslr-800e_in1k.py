# MAE, ViT-L/16 at 224 pixels, 800 epochs of ImageNet-1k.
_base_ = 'mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'

model = dict(backbone=dict(arch='large'))
