# Pretrained by configs/simmim/simmim_swin-micro-w6_*.py.
channels = 384
backbone = dict(
    type='simmim_mm.MaskedSwin',
    arch=dict(embed_dims=48, depths=[2, 2, 2, 2], num_heads=[2, 4, 8, 16]),
    img_size=96,
    window_size=6,
)
