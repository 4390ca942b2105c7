# Pretrained by configs/mae/mae_vit-micro-p4_*_cifar10-32px.py.
channels = 192
backbone = dict(
    type='simmim_mm.MaskedViT',
    arch=dict(embed_dims=channels, num_layers=8, num_heads=6, feedforward_channels=768),
    img_size=32,
    patch_size=4,
    mask_mode='gather',
)
