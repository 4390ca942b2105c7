# Pretrained by configs/simmim/simmim_swinv2-base-w12_*.py, then at 224 pixels, window 14.
channels = 1024
backbone = dict(
    type='simmim_mm.MaskedSwinV2',
    arch='base',
    img_size=224,
    window_size=14,
    pretrained_window_sizes=[12, 12, 12, 6],  # as clamped to the maps of 192 pixels
)
