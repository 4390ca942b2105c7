# Swin-T as pretrained by configs/simmim/simmim_swin-tiny-*.py.
backbone = dict(type='simmim_mm.MaskedSwin', arch='tiny', img_size=192, window_size=6)

# For detectors and segmenters: maps of stride 4, 8, 16 and 32, from images of any size.
dense_backbone = dict(
    backbone,
    img_size=224,
    window_size=7,
    pad_small_map=True,
    out_indices=(0, 1, 2, 3),
    drop_path_rate=0.1,
)
