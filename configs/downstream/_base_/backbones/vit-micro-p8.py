# Pretrained by configs/mae/mae_vit-micro-p8_*.py: stride 8. Attention within windows of 12 x 12
# tokens, the area that the pretraining saw, and in every second block everywhere.
channels = 192
backbone = dict(
    type='simmim_mm.WindowedViT',
    arch=dict(embed_dims=channels, num_layers=8, num_heads=6, feedforward_channels=768),
    img_size=96,
    patch_size=8,
    window_size=12,
    drop_path_rate=0.1,
)
