# PixMIM on MAE, ViT-B/16 at 224 pixels, 800 epochs of ImageNet-1k.
_base_ = 'pixmim_mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'

param_scheduler = [_base_.warmup, dict(_base_.cosine, end=800)]
train_cfg = dict(max_epochs=800)
