# MAE, ViT-B/16 at 224 pixels, 300 epochs of ImageNet-1k.
_base_ = [
    '../_base_/datasets/imagenet_mae.py',
    '../_base_/models/mae_vit-base.py',
    '../_base_/schedules/mae_300e.py',
    '../_base_/default_runtime.py',
]
