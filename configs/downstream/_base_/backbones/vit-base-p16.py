# Pretrained by configs/mae/mae_vit-base-p16_*.py: stride 16. Attention within windows of 14 x 14
# tokens, the area that the pretraining saw, and in every third block everywhere.
channels = 768
backbone = dict(
    type='simmim_mm.WindowedViT',
    arch='base',
    img_size=224,
    patch_size=16,
    window_size=14,
    drop_path_rate=0.1,
)
