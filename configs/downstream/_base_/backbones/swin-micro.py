# Pretrained by configs/simmim/simmim_swin-micro-*.py. Channels of the maps of stride 4, 8, 16, 32.
channels = [48, 96, 192, 384]
backbone = dict(
    type='simmim_mm.MaskedSwin',
    arch=dict(embed_dims=48, depths=[2, 2, 2, 2], num_heads=[2, 4, 8, 16]),
    img_size=96,
    window_size=6,
    pad_small_map=True,  # any image size
    out_indices=(0, 1, 2, 3),
    drop_path_rate=0.1,
)
