# The ViT of 4M parameters that configs/mae/mae_vit-micro-p8_*.py pretrains.
backbone = dict(
    type='simmim_mm.MaskedViT',
    arch=dict(embed_dims=192, num_layers=8, num_heads=6, feedforward_channels=768),
    img_size=96,
    patch_size=8,
    mask_mode='gather',
)
maps = dict(in_channels=192)
