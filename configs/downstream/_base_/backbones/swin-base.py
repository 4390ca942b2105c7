# Pretrained by configs/simmim/simmim_swin-base-*.py. Channels of the maps of stride 4, 8, 16, 32.
channels = [128, 256, 512, 1024]
backbone = dict(
    type='simmim_mm.MaskedSwin',
    arch='base',
    img_size=224,
    window_size=7,
    pad_small_map=True,  # any image size
    out_indices=(0, 1, 2, 3),
    drop_path_rate=0.1,
)
