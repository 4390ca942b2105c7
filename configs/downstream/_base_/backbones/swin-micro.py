# The Swin of 5M parameters that configs/simmim/simmim_swin-micro-*.py pretrains.
backbone = dict(
    type='simmim_mm.MaskedSwin',
    arch=dict(embed_dims=48, depths=[2, 2, 2, 2], num_heads=[2, 4, 8, 16]),
    img_size=96,
    window_size=6,
)

# For detectors and segmenters: maps of stride 4, 8, 16 and 32, from images of any size.
dense_backbone = dict(backbone, pad_small_map=True, out_indices=(0, 1, 2, 3), drop_path_rate=0.1)
maps = dict(in_channels=[48, 96, 192, 384])
