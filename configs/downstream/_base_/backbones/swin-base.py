# Swin-B as pretrained by configs/simmim/simmim_swin-base-*.py, for images of 224 pixels.
backbone = dict(type='simmim_mm.MaskedSwin', arch='base', img_size=224, window_size=7)

# For detectors and segmenters: maps of stride 4, 8, 16 and 32, from images of any size.
dense_backbone = dict(backbone, pad_small_map=True, out_indices=(0, 1, 2, 3), drop_path_rate=0.1)
maps = dict(in_channels=[128, 256, 512, 1024])
